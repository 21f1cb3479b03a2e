"""Scenario C23: whatever way an answer took, its headers and its usage event tell the truth about it.

`honest.ask` holds every answer against the provider's count and the usage event; these tests bring about the ways.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentcache.providers.openai_chat import CHAT_STREAM
from agentcache.providers.sse import parse_events
from tests.support.guarded import wait_until
from tests.support.honest import CHAT, INPUT_NANOS, MODEL, OUTPUT_NANOS, chat

TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
MESSAGE = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Which port?"}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def joined(body: bytes) -> Any:
    joiner = CHAT_STREAM.joiner()
    for event in parse_events(body):
        joiner.add(event)
    return joiner.answer()


# -- misses and hits


@pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])
def test_a_miss_is_priced_and_a_hit_saves_that_price(honest, form):
    first = honest.ask(chat("Which port?", **form))
    usage = joined(first.response.content)["usage"] if form else first.json["usage"]
    tokens = (usage["prompt_tokens"], usage["completion_tokens"])
    price = tokens[0] * INPUT_NANOS + tokens[1] * OUTPUT_NANOS
    assert (first.event.input_tokens, first.event.output_tokens) == tokens
    assert (first.event.cost_usd_nanos, first.event.saved_usd_nanos) == (price, 0)
    # A stream's header goes out before anybody knows how it ends.
    assert first.status.get("stored") is (None if form else True)
    for again in ({}, STREAM):
        hit = honest.ask(chat("Which port?", **again))
        assert (hit.event.input_tokens, hit.event.output_tokens) == tokens
        assert (hit.event.cost_usd_nanos, hit.event.saved_usd_nanos) == (0, price)
        assert hit.response.headers["x-agentcache-key"] == first.response.headers["x-agentcache-key"]
    assert (hit.event.dialect, hit.event.endpoint, hit.event.model) == ("openai", "chat.completions", MODEL)


def test_the_providers_own_headers_belong_to_the_one_whose_call_it_was(honest):
    first, second = honest.ask(), honest.ask()
    assert first.response.headers["x-ratelimit-remaining-requests"] == "999"
    assert first.response.headers["x-request-id"].startswith("req_fake")
    assert not any(name.startswith(("x-ratelimit", "x-request-id")) for name in second.response.headers)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/anthropic/v1/messages", MESSAGE),
        ("/anthropic/v1/messages", {**MESSAGE, "stream": True}),
        ("/anthropic/v1/messages/count_tokens", {"model": MODEL, "messages": MESSAGE["messages"]}),
        ("/openai/v1/responses", {"model": MODEL, "input": "Which port?"}),
        ("/openai/v1/responses", {"model": MODEL, "input": "Which port?", "stream": True}),
        ("/openai/v1/completions", {"model": MODEL, "prompt": "Which port?"}),
        ("/openai/v1/embeddings", {"model": MODEL, "input": ["one", "two"], "dimensions": 8}),
        ("/openai/v1/moderations", {"input": "Which port?"}),
        ("/openai/v1/images/generations", {"model": MODEL, "prompt": "A port"}),
        ("/openai/v1/audio/speech", {"model": MODEL, "input": "Port", "voice": "alloy"}),
        ("/together/v1/chat/completions", chat("Which port?")),
        ("/together/v1/rerank", {"model": MODEL, "query": "port", "documents": ["a port", "a ship"]}),
        ("/v1/chat/completions", chat("Which port?")),
    ],
)
def test_every_kind_of_answer(honest, path, body):
    first, second = honest.ask(body, path=path), honest.ask(body, path=path)
    assert (first.event.outcome, second.event.outcome) == ("miss", "exact")
    assert second.response.content == first.response.content
    assert second.event.saved_usd_nanos == first.event.cost_usd_nanos
    streamed = body.get("stream") is True
    assert first.status.get("stored") is (None if streamed else True)


# -- misses that are not stored, and why

ENDINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "length": ({"finish_reason": "length"}, {}),
    "content_filter": ({"finish_reason": "content_filter"}, {}),
    "no_finish_reason": ({"no_finish_reason": True}, {}),
    "refusal": ({"refusal": "I cannot help with that."}, {}),
    "bad_tool_arguments": ({"bad_tool_json": True}, {"tools": TOOLS}),
    "empty": ({"text": ""}, {}),
}


@pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("reason", ENDINGS)
def test_an_answer_that_did_not_end_well_is_passed_on_and_not_kept(honest, reason, form):
    script, members = ENDINGS[reason]
    honest.provider.script(**script)
    body = chat("Which port?", **members, **form)
    asked = honest.ask(body)
    assert (asked.status["fwd"], "stored" in asked.status) == ("miss", False)
    assert asked.status.get("detail") == (None if form else reason)
    # It cost what it cost, kept or not.
    assert asked.event.cost_usd_nanos > 0
    assert not honest.is_stored(body)


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("set_cookie", {"set_cookie": "session=1"}),
        ("malformed", {"wire": "not-json"}),
        ("too_large", {"text": "word " * 20_000}),
    ],
)
def test_other_answers_that_are_not_kept(honest, reason, script):
    honest.provider.script(**script)
    asked = honest.ask()
    assert (asked.status["fwd"], asked.status["detail"], "stored" in asked.status) == ("miss", reason, False)
    assert not honest.is_stored()


def test_a_stream_too_large_to_keep_is_passed_on_whole(honest):
    honest.provider.script(text="word " * 20_000)
    asked = honest.ask(chat("Which port?", **STREAM))
    assert joined(asked.response.content)["choices"][0]["message"]["content"] == "word " * 20_000
    assert not honest.is_stored()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 529])
def test_the_providers_errors(honest, status):
    honest.provider.script(status=status, times=None)
    asked = honest.ask(expect=status)
    assert (asked.status["fwd"], asked.status["detail"]) == ("miss", "upstream_error")
    assert (asked.event.outcome, asked.event.cost_usd_nanos) == ("error", 0)
    assert asked.upstream_calls == 1
    honest.provider.clear_scripts()
    assert not honest.is_stored()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"wire": "garbage"}, "upstream_invalid"),
        ({"wire": "content-length-long"}, "upstream_invalid"),
        ({"rst_after_bytes": 0}, "upstream_invalid"),
    ],
)
def test_a_provider_that_breaks_is_our_error_and_one_event(honest, script, code):
    honest.provider.script(**script, times=None)
    response = honest.send(chat("Which port?"))
    assert response.status_code == 502
    assert response.headers["x-agentcache-error"].startswith("upstream_")
    event = honest.event_of(response)
    assert (event.outcome, event.status, event.cost_usd_nanos, event.saved_usd_nanos) == ("error", 502, 0, 0)


def test_a_stream_that_breaks_is_one_error_event(honest):
    honest.provider.script(rst_after_chunks=4)
    response = honest.send(chat("Which port?", **STREAM))
    assert b"upstream_invalid" in response.content
    assert b"[DONE]" not in response.content
    assert honest.event_of(response).outcome == "error"
    assert not honest.is_stored()


def test_a_key_that_may_not_write_reads_and_never_stores(honest):
    reader = honest.reader_key()
    asked = honest.ask(key=reader)
    assert (asked.status["fwd"], asked.status["detail"]) == ("miss", "not_asked")
    kept = honest.ask()
    assert honest.ask(key=reader).text == kept.text


# -- bypass


@pytest.mark.parametrize(
    ("reason", "path", "body"),
    [
        ("store", CHAT, chat("Which port?", store=True)),
        ("web_search", CHAT, chat("Which port?", web_search_options={})),
        ("obfuscation", CHAT, chat("Which port?", stream=True, stream_options={"include_obfuscation": True})),
        ("hosted_tool", "/openai/v1/responses", {"model": MODEL, "input": "x", "tools": [{"type": "web_search"}]}),
        ("image_stream", "/openai/v1/images/generations", {"model": MODEL, "prompt": "x", "stream": True}),
        ("prompt_cache_warming", "/anthropic/v1/messages", {**MESSAGE, "max_tokens": 0}),
        ("no_seed", "/together/v1/images/generations", {"model": MODEL, "prompt": "x"}),
        ("no_seed", "/replicate/v1/models/acme/writer/predictions", {"input": {"prompt": "x"}}),
    ],
)
def test_a_bypass_says_why(honest, reason, path, body):
    for _ in range(2):
        asked = honest.ask(body, path=path, expect=202 if "replicate" in path else 200)
        assert asked.status == {"fwd": "bypass", "fwd-status": asked.response.status_code, "detail": reason}
        assert asked.upstream_calls == 1


def test_what_a_dialect_does_not_cache_is_a_bypass(honest):
    for method, path in (
        ("GET", "/openai/v1/models"),
        ("GET", "/replicate/v1/account"),
        ("GET", "/together/v1/models"),
    ):
        asked = honest.check(honest.send(path=path, method=method), 1)
        assert asked.status["detail"] == "not_cacheable"
        assert asked.event.endpoint == "pass"


# -- shared flights


@pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])
def test_of_many_at_once_one_is_a_miss_and_the_rest_are_collapsed(honest, form):
    honest.provider.script(hold=True)
    before = honest.provider.call_count
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(honest.send, chat("All at once", **form)) for _ in range(8)]
        honest.provider.wait_for_calls(before + 1)
        flights = honest.gateway.parts.flights
        wait_until(lambda: sum(flight.readers for flight in flights._by_key.values()) == 8, what="eight readers")
        honest.provider.release()
        responses = [future.result() for future in sent]
    assert honest.provider.call_count == before + 1
    asked = [honest.check(response, 1) for response in responses]
    assert len({response.content for response in responses}) == 1
    leaders = [one for one in asked if "collapsed" not in one.status]
    assert len(leaders) == 1
    assert leaders[0].event.outcome == "miss"
    followers = [one for one in asked if one is not leaders[0]]
    assert all(one.event.saved_usd_nanos == leaders[0].event.cost_usd_nanos > 0 for one in followers)
    # What speaks of the leader's account is not told to the others.
    assert not any("x-ratelimit-remaining-requests" in one.response.headers for one in followers)


def test_an_answer_that_was_invalidated_on_its_way_is_not_kept(honest):
    honest.provider.script(hold=True)
    before = honest.provider.call_count
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(honest.send, chat("Outdated"), x_agentcache_tags="prices")
        honest.provider.wait_for_calls(before + 1)
        assert honest.send({"tags": ["prices"]}, path="/api/cache/purge").status_code == 200
        honest.provider.release()
        asked = honest.check(sent.result(), 1)
    assert (asked.status["detail"], "stored" in asked.status) == ("superseded", False)
    assert asked.event.outcome == "miss"
    assert not honest.is_stored(chat("Outdated"))


def test_requests_that_insist_on_a_new_answer_never_share_one(honest):
    honest.provider.script(hold=True, times=2)
    before = honest.provider.call_count
    with ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(honest.send, chat("Anew"), cache_control="no-cache") for _ in range(2)]
        honest.provider.wait_for_calls(before + 2)
        honest.provider.release()
        asked = [honest.check(future.result(), 1) for future in sent]
    assert [one.status["fwd"] for one in asked] == ["request", "request"]
    assert asked[0].text != asked[1].text


# -- everything at once


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_never_mislabels(honest, seed):
    """Random requests, directives, faults and times against a model of what a cache must do."""
    choose = random.Random(seed)
    kept = {}  # question -> (answer, when it was stored, its lifetime)
    now = 0.0
    for _ in range(120):
        now += (step := choose.choice([0, 0, 0, 7, 60]))
        honest.gateway.clock.move(step)
        number, mode = choose.randrange(4), choose.choice(["on", "on", "on", "off", "read-only", "refresh"])
        lifetime = choose.choice([10.0, 100.0])
        max_age = choose.choice([None, None, 30])
        window = choose.choice([None, 50])
        fault = choose.choice([None, None, None, {"status": 500}, {"finish_reason": "length"}])
        control = [f"max-age={max_age}"] * (max_age is not None) + [f"stale-if-error={window}"] * (window is not None)
        streams = choose.random() < 0.5
        honest.provider.clear_scripts()
        if fault:
            honest.provider.script(**fault)

        text, stored_at, lasts = kept.get(number, ("", -1e9, 0.0))
        age, reads = now - stored_at, mode in ("on", "read-only")
        fails = fault == {"status": 500}
        hits = reads and age < lasts and (max_age is None or age <= max_age)
        accepted = lasts if max_age is None else min(lasts, max_age)
        stands_in = fails and reads and not hits and age < accepted + (window or 0)
        asked = honest.ask(
            chat(f"Question {number}", **(STREAM if streams else {})),
            expect=500 if fails and not hits and not stands_in else 200,
            x_agentcache_mode=mode, x_agentcache_ttl=str(int(lifetime)), cache_control=", ".join(control),
        )  # fmt: skip
        assert ("hit" in asked.status) == (hits or stands_in), (asked.status, age, lasts)
        assert asked.upstream_calls == (0 if hits else 1)
        if hits or stands_in:
            says = joined(asked.response.content) if streams else asked.json
            assert says["choices"][0]["message"]["content"] == text
        else:
            expected = {"off": "bypass", "refresh": "request"}.get(mode, "stale" if number in kept else "miss")
            assert asked.status["fwd"] == expected
        if not hits and not stands_in and fault is None and mode in ("on", "refresh"):
            says = joined(asked.response.content) if streams else asked.json
            kept[number] = (says["choices"][0]["message"]["content"], now, lifetime)
