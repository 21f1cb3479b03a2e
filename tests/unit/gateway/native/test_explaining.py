from __future__ import annotations

from agentcache.gateway.native import explaining
from tests.unit.gateway.native.samples import QUESTION, chat_answer


async def keep(bench, request, **members):
    asked = {"provider": "openai", "request": request, "value": chat_answer(), **members}
    stored = await bench.post("set", asked, 201)
    bench.clock.move(1)
    return stored["key"]


async def explain(bench, request, **members):
    return await bench.post("explain", {"provider": "openai", "request": request, **members})


def differences(explained):
    return {(part["name"], part["change"]) for part in explained["nearest"]["differences"]}


async def test_a_hit_is_explained_part_by_part(bench):
    request = {**QUESTION, "user": "u", "stream": True, "metadata": {"a": 1}, "trace": {"id": 1}}
    request["messages"] = [{"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {}}]}]
    key = await keep(bench, request, ignore=["trace.id"])
    explained = await explain(bench, request, headers={"X-AgentCache-Ignore": "trace.id", "X-Trace": "1"})
    assert (explained["hit"], explained["key"], explained["nearest"], explained["search"]) == (True, key, None, None)
    inside = {part["name"] for part in explained["parts"] if part["in_key"]}
    outside = {part["name"] for part in explained["parts"] if not part["in_key"]}
    assert inside == {
        "dialect", "endpoint", "origin", "namespace", "bucket", "ignored",
        "body.model", "body.temperature", "body.messages[0]", "body.trace",
    }  # fmt: skip
    assert outside == {
        "body.user", "body.stream", "body.metadata", "body.trace.id", "header:x-trace", "header:x-agentcache-ignore",
        "body.messages[0].content[0].prompt_cache_breakpoint",
    }  # fmt: skip
    assert all(part["why"] for part in explained["parts"])


async def test_a_miss_names_the_exact_fields_that_differ(bench):
    key = await keep(bench, {**QUESTION, "seed": 1, "context": {"request_id": "a", "tenant": "t"}, "top_p": 1})
    await keep(bench, {**QUESTION, "messages": [{"role": "user", "content": "Something else"}]})
    asked = {**QUESTION, "context": {"request_id": "b", "tenant": "t"}, "top_p": 1, "seed": 1, "n": 1}
    explained = await explain(bench, asked)
    assert (explained["hit"], explained["reason"]) == (False, "absent")
    assert explained["nearest"]["key"] == key
    assert differences(explained) == {("body.context.request_id", "changed"), ("body.n", "added")}
    assert any("add context.request_id to X-AgentCache-Ignore" in hint for hint in explained["hints"])
    assert explained["search"] == {"examined": 2, "limit": 500, "complete": True}


async def test_one_changed_message_is_named(bench):
    await keep(bench, QUESTION)
    asked = {**QUESTION, "messages": [*QUESTION["messages"][:1], {"role": "user", "content": "At 12:01: capital?"}]}
    explained = await explain(bench, asked)
    assert differences(explained) == {("body.messages[1]", "changed")}
    assert "body.messages[1] differs" in explained["hints"][0]
    del asked["messages"][1]
    assert differences(await explain(bench, asked)) == {("body.messages[1]", "removed")}


async def test_following_the_hint_makes_a_hit(bench):
    first = {**QUESTION, "trace": {"id": 1}}
    await keep(bench, first, ignore=["trace.id"])
    second = {**QUESTION, "trace": {"id": 2}}
    explained = await explain(bench, second)
    assert ("ignored", "removed") in differences(explained)
    assert (await explain(bench, second, ignore=["trace.id"]))["hit"] is True


async def test_another_namespace_bucket_or_header_is_named(bench):
    key = await keep(bench, QUESTION, namespace="prod", bucket="1", headers={"OpenAI-Beta": "x"})
    explained = await explain(bench, QUESTION)
    assert explained["nearest"]["key"] == key
    assert differences(explained) == {
        ("namespace", "changed"), ("bucket", "changed"), ("header:openai-beta", "removed"),
    }  # fmt: skip
    assert any("X-AgentCache-Namespace: prod" in hint for hint in explained["hints"])


async def test_another_model_is_nearest_where_this_one_has_nothing(bench):
    await keep(bench, {**QUESTION, "model": "gpt-4o"})
    assert differences(await explain(bench, QUESTION)) == {("body.model", "changed")}


async def test_nothing_alike_is_not_called_near(bench):
    await keep(bench, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Unrelated"}]})
    explained = await explain(bench, QUESTION)
    assert explained["nearest"] is None
    assert explained["search"]["examined"] == 1


async def test_a_request_that_goes_past_the_cache_says_why(bench):
    explained = await explain(bench, {**QUESTION, "web_search_options": {}})
    assert explained["bypass"] == "web_search"
    assert any("web_search" in hint for hint in explained["hints"])
    off = await explain(bench, QUESTION, headers={"X-AgentCache-Mode": "off"})
    assert off["bypass"] == "requested"


async def test_an_expired_entry_is_explained(bench):
    key = await keep(bench, QUESTION, ttl=1)
    bench.clock.move(2)
    explained = await explain(bench, QUESTION)
    assert (explained["hit"], explained["reason"], explained["key"]) == (False, "expired", key)
    assert any("lifetime is over" in hint for hint in explained["hints"])


async def test_the_search_is_bounded_and_says_so(bench, monkeypatch):
    monkeypatch.setattr(explaining, "SEARCHED_MAX", 4)
    monkeypatch.setattr(explaining, "_PAGE_ENTRIES", 2)
    nearest = await keep(bench, {**QUESTION, "seed": 0})
    for seed in range(1, 6):
        await keep(bench, {"model": "gpt-4o-mini", "messages": [], "seed": seed})
    explained = await explain(bench, QUESTION)
    assert explained["search"] == {"examined": 4, "limit": 4, "complete": False}
    assert explained["nearest"] is None
    monkeypatch.setattr(explaining, "SEARCHED_MAX", 6)
    assert (await explain(bench, QUESTION))["nearest"]["key"] == nearest
