from __future__ import annotations

import msgspec
import pytest

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.engine.keys import cache_key
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.calls import key_material
from agentcache.gateway.predictions.fills import FILES_MEMBER
from tests.unit.gateway.native.samples import (
    EMBEDDING_ANSWER,
    MESSAGE_ANSWER,
    MESSAGE_QUESTION,
    QUESTION,
    chat_answer,
)

ASKED = {"provider": "openai", "request": QUESTION}


async def test_an_answer_that_was_set_is_a_hit_in_every_way_of_asking(bench):
    stored = await bench.post("set", {**ASKED, "value": chat_answer(), "ttl": "1h", "tags": ["geo"]}, 201)
    assert stored["key_space"] == "provider"
    assert stored["reason"] is None
    assert stored["ttl"] == 3600
    split = {name: QUESTION[name] for name in ("model", "messages")}
    for asked in (ASKED, {"provider": "openai", **split, "params": {"temperature": 0.2}}, {"key": stored["key"]}):
        found = await bench.post("get", asked)
        assert found["hit"] is True
        assert found["value"] == chat_answer()
        assert found["key"] == stored["key"]
        assert (found["freshness"], found["age"], found["ttl"]) == ("fresh", 0, 3600)
        assert found["tags"] == ["geo"]
        assert found["cost_saved_usd"] == stored["cost_usd"] > 0
    assert (await bench.get(f"get?key={stored['key'].upper()}"))["value"] == chat_answer()


async def test_an_answer_that_was_set_is_a_hit_on_the_providers_route(bench):
    stored = await bench.post("set", {**ASKED, "value": chat_answer()}, 201)
    plain = await bench.call("POST", "/openai/v1/chat/completions", QUESTION)
    assert plain.status_code == 200
    assert plain.headers["x-agentcache-key"] == stored["key"]
    assert "; hit;" in plain.headers["cache-status"]
    assert plain.json() == chat_answer()
    streamed = await bench.call("POST", "/v1/chat/completions", {**QUESTION, "stream": True, "user": "someone"})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "; hit;" in streamed.headers["cache-status"]
    assert "Paris." in streamed.text
    assert streamed.text.rstrip().endswith("data: [DONE]")


async def test_an_answer_set_for_anthropic_is_found_by_its_official_client_headers(bench):
    asked = {"provider": "anthropic", "request": MESSAGE_QUESTION}
    stored = await bench.post("set", {**asked, "value": MESSAGE_ANSWER}, 201)
    assert (stored["key_space"], stored["endpoint"]) == ("provider", "messages")
    hit = await bench.call("POST", "/anthropic/v1/messages", MESSAGE_QUESTION, anthropic_version="2023-06-01")
    assert hit.status_code == 200
    assert hit.json() == MESSAGE_ANSWER
    beta = {**asked, "headers": {"Anthropic-Beta": "b, a"}}
    assert (await bench.post("get", beta))["hit"] is False
    again = await bench.post("set", {**beta, "value": MESSAGE_ANSWER}, 201)
    assert again["key"] != stored["key"]
    hit = await bench.call(
        "POST", "/anthropic/v1/messages", MESSAGE_QUESTION, anthropic_version="2023-06-01", anthropic_beta="a,b"
    )
    assert hit.headers["x-agentcache-key"] == again["key"]


async def test_one_embedding_is_shared_with_the_providers_route(bench):
    request = {"model": "text-embedding-3-small", "input": ["hello"]}
    stored = await bench.post("set", {"provider": "openai", "request": request, "value": EMBEDDING_ANSWER}, 201)
    assert (stored["key_space"], stored["endpoint"]) == ("provider", "embeddings")
    hit = await bench.call("POST", "/openai/v1/embeddings", {**request, "input": "hello"})
    assert hit.status_code == 200, hit.text
    assert hit.json()["data"][0]["embedding"] == [0.5, -0.25, 0.125]
    batch = {**request, "input": ["hello", "world"]}
    stored = await bench.post("set", {"provider": "openai", "request": batch, "value": {"mine": 1}}, 201)
    assert (stored["key_space"], stored["reason"]) == ("native", "cached_per_item")


async def test_a_batch_of_embeddings_is_put_together_from_its_items(bench):
    request = {"model": "text-embedding-3-small", "input": ["a", "b", "a"]}
    asked = {"provider": "openai", "request": request}
    for index, text in enumerate("ab"):
        item = {"provider": "openai", "request": {**request, "input": text}}
        answer = {**EMBEDDING_ANSWER, "data": [{"object": "embedding", "index": 0, "embedding": [0.5, index]}]}
        assert (await bench.post("get", asked))["hit"] is False
        await bench.post("set", {**item, "value": answer, "cost_usd": 0.25, "ttl": 100 - index, "tags": [text]}, 201)
        bench.clock.move(1)
    found = await bench.post("get", asked)
    assert [item["embedding"] for item in found["value"]["data"]] == [[0.5, 0], [0.5, 1], [0.5, 0]]
    assert [item["index"] for item in found["value"]["data"]] == [0, 1, 2]
    assert found["value"]["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert (found["age"], found["ttl"], found["tags"], found["cost_saved_usd"]) == (2, 98, ["a", "b"], 0.5)
    bench.clock.move(98)
    assert (await bench.post("get", asked))["hit"] is False


async def test_a_stored_prediction_is_shown_with_its_files_on_our_host(bench):
    request = {"version": "v1", "input": {"prompt": "a cat", "seed": 1}, "webhook": "https://example.com/"}
    asked = {"provider": "replicate", "request": request}
    missed = await bench.post("get", asked)
    assert (missed["endpoint"], missed["bypass"]) == ("predictions", None)
    upstream_url = "https://replicate.delivery/x/out.png"
    prediction = {"id": "p", "status": "succeeded", "input": {}, "output": [upstream_url]}
    kept = {**prediction, FILES_MEMBER: {upstream_url: "/files/abc"}}
    meta = EntryMeta(dialect="replicate", endpoint="predictions", stored_at=bench.clock.now(), lifetime_seconds=60.0)
    await bench.entries.put(bench.tenant(), Entry(bytes.fromhex(missed["key"]), meta, msgspec.json.encode(kept)))
    found = await bench.post("get", {**asked, "request": {**request, "webhook": "https://example.org/other"}})
    assert found["value"] == {
        **prediction,
        "input": request["input"],
        "output": [f"{bench.parts.settings.origin}/files/abc"],
    }
    unseeded = {"provider": "replicate", "request": {"version": "v1", "input": {"prompt": "a cat"}}}
    assert (await bench.post("get", unseeded))["bypass"] == "no_seed"
    assert (await bench.post("get", {**unseeded, "headers": {"X-AgentCache-Mode": "on"}}))["bypass"] is None
    stored = await bench.post("set", {**asked, "value": prediction, "namespace": "x"}, 201)
    assert (stored["key_space"], stored["reason"]) == ("native", "prediction")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("just text", "not_an_answer"),
        (None, "not_an_answer"),
        ([1, 2.5, {"a": None}], "not_an_answer"),
        ({"my": "own"}, "malformed"),
        (chat_answer(choices=[]), "empty"),
        (chat_answer(error={"message": "no"}), "error_in_body"),
    ],
)
async def test_what_is_no_answer_stays_out_of_the_providers_route(bench, value, reason):
    stored = await bench.post("set", {**ASKED, "value": value}, 201)
    assert (stored["key_space"], stored["endpoint"], stored["reason"]) == ("native", "native", reason)
    found = await bench.post("get", ASKED)
    assert found["hit"] is True
    assert found["value"] == value
    assert found["key_space"] == "native"
    missed = await bench.call("POST", "/openai/v1/chat/completions", QUESTION, cache_control="only-if-cached")
    assert missed.status_code == 504


async def test_a_cut_answer_is_not_served_as_the_providers(bench):
    cut = chat_answer()
    cut["choices"][0]["finish_reason"] = "length"
    stored = await bench.post("set", {**ASKED, "value": cut}, 201)
    assert (stored["key_space"], stored["reason"]) == ("native", "length")


async def test_a_request_that_goes_past_the_cache_says_so(bench):
    asked = {"provider": "openai", "request": {**QUESTION, "store": True}}
    assert (await bench.post("get", asked))["bypass"] == "store"
    stored = await bench.post("set", {**asked, "value": chat_answer()}, 201)
    assert (stored["key_space"], stored["reason"]) == ("native", "store")


async def test_the_newest_of_both_key_spaces_wins(bench):
    await bench.post("set", {**ASKED, "value": chat_answer()}, 201)
    bench.clock.move(1)
    await bench.post("set", {**ASKED, "value": "mine"}, 201)
    assert (await bench.post("get", ASKED))["value"] == "mine"
    bench.clock.move(1)
    await bench.post("set", {**ASKED, "value": chat_answer("Lyon.")}, 201)
    assert (await bench.post("get", ASKED))["value"] == chat_answer("Lyon.")


async def test_a_miss_names_a_key_under_which_a_value_can_be_set(bench):
    missed = await bench.post("get", ASKED)
    assert (missed["hit"], missed["value"], missed["reason"]) == (False, None, "absent")
    await bench.post("set", {"key": missed["key"], "value": {"mine": True}}, 201)
    assert (await bench.post("get", ASKED))["value"] == {"mine": True}
    assert (await bench.get(f"get?key={missed['key']}"))["value"] == {"mine": True}


async def test_a_prompt_has_a_key_of_its_own(bench):
    asked = {"provider": "openai", "prompt": "Capital of France?", "model": "gpt-4o-mini"}
    stored = await bench.post("set", {**asked, "value": "Paris"}, 201)
    assert (stored["key_space"], stored["dialect"], stored["model"]) == ("native", "openai", "gpt-4o-mini")
    assert (await bench.post("get", asked))["value"] == "Paris"
    for other in ({"model": "gpt-4o"}, {"provider": "anthropic"}, {"namespace": "eval"}, {"bucket": "2"}):
        assert (await bench.post("get", {**asked, **other}))["hit"] is False
    assert (await bench.post("get", {"key": stored["key"]}))["value"] == "Paris"


async def test_a_name_of_ones_own_is_a_key_within_its_namespace(bench):
    stored = await bench.post("set", {"key": "user:42/profile", "value": [1], "model": "mine"}, 201)
    assert len(stored["key"]) == 64
    assert (await bench.get("get?key=user:42/profile"))["value"] == [1]
    assert (await bench.get("get?key=user:42/profile&namespace=eval", 404))["code"] == "not_in_cache"
    await bench.get("get?key=user:42/profile&bucket=b", 404)
    await bench.get("get?key=user:42/profile", 404, x_agentcache_namespace="eval")
    assert (await bench.get(f"get?key={stored['key']}"))["value"] == [1]


async def test_setting_by_the_key_that_set_gave_replaces_the_value(bench):
    stored = await bench.post("set", {"key": "name", "value": 1, "namespace": "eval"}, 201)
    bench.clock.move(1)
    again = await bench.post("set", {"key": stored["key"], "value": 2}, 201)
    assert (again["key"], again["namespace"]) == (stored["key"], "eval")
    assert (await bench.get("get?key=name&namespace=eval"))["value"] == 2
    assert (await bench.get("stats"))["entries"] == 1


async def test_a_namespace_beside_a_cache_key_must_be_the_entrys(bench):
    stored = await bench.post("set", {**ASKED, "value": chat_answer(), "namespace": "prod"}, 201)
    assert (await bench.post("get", {"key": stored["key"], "namespace": "prod"}))["hit"] is True
    assert (await bench.post("get", {"key": stored["key"], "namespace": "eval"}))["hit"] is False


async def test_namespace_bucket_and_ignore_can_be_said_in_three_places(bench):
    request = {**QUESTION, "trace": {"id": 1}}
    asked = {"provider": "openai", "request": request}
    stored = await bench.post(
        "set", {**asked, "value": chat_answer(), "namespace": "prod", "ignore": ["trace.id"]}, 201
    )
    headers = {"X-AgentCache-Namespace": "prod", "X-AgentCache-Ignore": "trace.id"}
    assert (await bench.post("get", {**asked, "headers": headers}))["key"] == stored["key"]
    within = await bench.post("get", {**asked, "ignore": ["$.trace.id"]}, x_agentcache_namespace="prod")
    assert within["key"] == stored["key"]
    other = {**asked, "request": {**request, "trace": {"id": 2}}, "ignore": ["trace.id"], "namespace": "prod"}
    assert (await bench.post("get", other))["hit"] is True
    assert (await bench.post("get", {**other, "ignore": []}))["hit"] is False
    hit = await bench.call(
        "POST", "/openai/v1/chat/completions", request, x_agentcache_namespace="prod", x_agentcache_ignore="trace.id"
    )
    assert hit.headers["x-agentcache-key"] == stored["key"]
    conflict = await bench.post("get", {**asked, "namespace": "a"}, 400, x_agentcache_namespace="b")
    assert conflict["param"] == "namespace"


async def test_a_keys_own_namespace_is_the_default(bench):
    key = bench.make_key("team_a", namespace="staging")
    stored = await bench.post("set", {**ASKED, "value": chat_answer()}, 201, key=key)
    assert stored["namespace"] == "staging"
    assert (await bench.post("get", ASKED))["hit"] is False
    assert (await bench.post("get", {**ASKED, "namespace": "staging"}))["hit"] is True


async def test_an_expired_entry_is_a_miss_that_says_so(bench):
    stored = await bench.post("set", {**ASKED, "value": chat_answer(), "ttl": 100}, 201)
    for seconds, freshness in ((74, "fresh"), (2, "stale"), (23, "stale")):
        bench.clock.move(seconds)
        assert (await bench.post("get", ASKED))["freshness"] == freshness
    bench.clock.move(1)
    missed = await bench.post("get", ASKED)
    assert (missed["hit"], missed["reason"], missed["value"]) == (False, "expired", None)
    assert (await bench.get(f"get?key={stored['key']}", 404))["code"] == "entry_expired"
    shown = await bench.get(f"entries/{stored['key']}")
    assert (shown["freshness"], shown["ttl"]) == ("expired", 0)


async def test_max_age_is_heeded(bench):
    await bench.post("set", {**ASKED, "value": chat_answer()}, 201)
    bench.clock.move(60)
    assert (await bench.post("get", ASKED, cache_control="max-age=60"))["hit"] is True
    missed = await bench.post("get", ASKED, cache_control="max-age=59")
    assert (missed["hit"], missed["reason"]) == (False, "older_than_max_age")


async def test_a_stored_stream_is_shown_as_the_plain_answer(bench):
    dialect = bench.parts.dialects["openai"]
    endpoint, _ = dialect.find_endpoint("POST", "/v1/chat/completions")
    material = key_material(dialect, endpoint, QUESTION, namespace="default")
    body = endpoint.stream.split(chat_answer(), {**QUESTION, "stream": True, "stream_options": {"include_usage": True}})
    meta = EntryMeta(
        dialect="openai", endpoint=endpoint.name, model="gpt-4o-mini", streamed=True, content_type="text/event-stream",
        stored_at=bench.clock.now(), lifetime_seconds=60.0, cost_usd_nanos=123_000, upstream_ms=250.0,
    )  # fmt: skip
    key = cache_key(bench.tenant(), material)
    await bench.entries.put(bench.tenant(), Entry(key, meta, body))
    found = await bench.post("get", ASKED)
    assert found["hit"] is True
    assert found["value"]["choices"][0]["message"]["content"] == "Paris."
    assert found["value"]["usage"]["total_tokens"] == 1500
    assert (found["cost_saved_usd"], found["saved_ms"]) == (0.000123, 250)
    assert (await bench.get(f"entries/{key.hex()}"))["value"] == found["value"]


async def test_an_answer_is_shown_without_another_callers_own_members(bench):
    request = {"model": "gpt-4o-mini", "input": "hi", "metadata": {"trace": "first caller's"}}
    answer = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None,
        "incomplete_details": None, "model": "gpt-4o-mini", "metadata": {"trace": "first caller's"},
        "output": [{"type": "message", "id": "m", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "hello", "annotations": []}]}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    stored = await bench.post("set", {"provider": "openai", "request": request, "value": answer}, 201)
    assert (stored["key_space"], stored["endpoint"]) == ("provider", "responses")
    for text in (
        (await bench.call("GET", f"/api/cache/get?key={stored['key']}")).text,
        (await bench.call("GET", f"/api/cache/entries/{stored['key']}")).text,
        (
            await bench.call("POST", "/api/cache/get", {"provider": "openai", "request": {**request, "metadata": {}}})
        ).text,
    ):
        assert "hello" in text
        assert "first caller's" not in text


async def test_bytes_are_shown_in_base64(bench):
    request = {"model": "tts-1", "input": "hi", "voice": "alloy"}
    stored = await bench.post("set", {"provider": "openai", "request": request, "value": "mine"}, 201)
    assert (stored["key_space"], stored["reason"]) == ("native", "binary")
    missed = await bench.post("get", {"provider": "openai", "request": request, "namespace": "tts"})
    assert missed["endpoint"] == "audio.speech"
    meta = EntryMeta(
        dialect="openai", endpoint="audio.speech", content_type="audio/mpeg", namespace="tts",
        stored_at=bench.clock.now(), lifetime_seconds=60.0,
    )  # fmt: skip
    await bench.entries.put(bench.tenant(), Entry(bytes.fromhex(missed["key"]), meta, b"\xff\xfb\x00"))
    found = await bench.post("get", {"provider": "openai", "request": request, "namespace": "tts"})
    assert (found["value"], found["value_encoding"]) == ("//sA", "base64")


async def test_the_answer_is_kept_byte_for_byte(bench):
    raw = msgspec.json.encode({"n": 0.1, "big": 2**53 + 1, "text": "é\u2028\n"})
    body = b'{"key":"k","value":' + raw + b"}"
    await bench.post("set", body, 201)
    shown = await bench.call("GET", "/api/cache/get?key=k")
    assert b'"value":' + raw in shown.content


async def test_cost_and_tokens(bench):
    given = {**ASKED, "value": chat_answer(), "input_tokens": 7}
    for cost, shown in (("0.000123", 0.000123), (1.5, 1.5), (0, 0.0)):
        assert (await bench.post("set", {**given, "cost_usd": cost}, 201))["cost_usd"] == shown
    entry = (await bench.get("entries"))["entries"][0]
    assert (entry["input_tokens"], entry["output_tokens"]) == (7, 500)
    priced = await bench.post(
        "set",
        {"provider": "openai", "model": "gpt-4o-mini", "prompt": "p", "value": "v", "input_tokens": 1_000_000},
        201,
    )
    assert priced["cost_usd"] == pytest.approx(0.15)


async def test_usage_is_metered(bench):
    await bench.post("get", ASKED, x_agentcache_agent="crawler")
    stored = await bench.post("set", {**ASKED, "value": chat_answer(), "cost_usd": 0.25}, 201)
    await bench.post("get", ASKED)
    await bench.get(f"get?key={stored['key']}")
    await bench.get(f"get?key={'0' * 64}", 404)
    seen = [
        (e.endpoint, e.dialect, e.outcome, e.status, e.saved_usd_nanos, e.cost_usd_nanos) for e in await bench.events()
    ]
    assert seen == [
        ("cache.get", "openai", "miss", 200, 0, 0),
        ("cache.set", "native", "bypass", 201, 0, 0),
        ("cache.get", "openai", "exact", 200, 250_000_000, 0),
        ("cache.get", "openai", "exact", 200, 250_000_000, 0),
        ("cache.get", "native", "miss", 404, 0, 0),
    ]
    first, _, second = (await bench.events())[:3]
    assert (first.agent, first.input_tokens) == ("crawler", 0)
    assert (second.input_tokens, second.output_tokens, second.model) == (1000, 500, "gpt-4o-mini")


async def test_replies_say_what_the_cache_did(bench):
    missed = await bench.call("POST", "/api/cache/get", ASKED)
    key = missed.json()["key"]
    assert missed.headers["cache-status"] == f'AgentCache; key="{key}"; detail=absent'
    await bench.post("set", {**ASKED, "value": chat_answer(), "ttl": 100, "cost_usd": "0.5"}, 201)
    bench.clock.move(10)
    hit = await bench.call("POST", "/api/cache/get", ASKED)
    assert hit.headers["cache-status"] == f'AgentCache; hit; ttl=90; key="{key}"'
    assert hit.headers["age"] == "10"
    assert hit.headers["x-agentcache-saved-usd"] == "0.50"
    assert hit.headers["content-type"] == "application/json"
    assert hit.headers["cache-control"] == "no-store"
    assert hit.headers["x-agentcache-request-id"]


async def test_a_store_in_trouble_is_a_miss_for_post_and_a_503_for_the_rest(bench, monkeypatch):
    async def fail(*_arguments, **_options):
        raise StoreUnavailable

    for name in ("get", "put", "list_entries", "stats", "invalidate", "withdraw"):
        monkeypatch.setattr(bench.entries, name, fail)
    missed = await bench.post("get", ASKED)
    assert (missed["hit"], missed["reason"]) == (False, "store_unavailable")
    refused = [
        await bench.get(f"get?key={missed['key']}", 503),
        await bench.post("set", {**ASKED, "value": 1}, 503),
        await bench.get("entries", 503),
        await bench.get("stats", 503),
        await bench.post("purge", {"all": True}, 503),
        await bench.post("explain", ASKED, 503),
    ]
    assert {problem["code"] for problem in refused} == {"store_unavailable"}
