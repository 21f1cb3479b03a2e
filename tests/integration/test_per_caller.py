"""One entry, many callers: each sees what it asked for, and nothing of what another one sent beside it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.guarded import wait_until
from tests.support.honest import MODEL, chat

ASKS_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
NO_USAGE = {"stream": True, "stream_options": {"include_usage": False}}
RESPONSES = "/openai/v1/responses"


def chunks(body: bytes) -> list[Any]:
    events = body.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    assert body.endswith(b"data: [DONE]\n\n")
    return [json.loads(event.removeprefix(b"data: ")) for event in events if event]


def said(found: list[Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in found for choice in chunk["choices"])


@pytest.mark.parametrize("first", [{}, {"stream": True}, NO_USAGE, ASKS_USAGE], ids=["plain", "bare", "no", "yes"])
def test_usage_comes_only_to_those_who_ask(honest, first):
    """Whoever fills the entry, with whatever wish, the next ones get what they wish."""
    miss = honest.ask(chat("Who wants usage?", **first))
    texts, usages = set(), []
    for wish in ({"stream": True}, NO_USAGE, ASKS_USAGE, {"stream": True, "stream_options": None}):
        hit = honest.ask(chat("Who wants usage?", **wish))
        assert "hit" in hit.status
        found = chunks(hit.response.content)
        texts.add(said(found))
        if wish is ASKS_USAGE:
            assert [chunk["usage"] for chunk in found[:-1]] == [None] * (len(found) - 1)
            assert found[-1]["choices"] == []
            usages.append(found[-1]["usage"])
        else:
            assert not any("usage" in chunk for chunk in found)
            assert all(chunk["choices"] for chunk in found)
        assert not any("obfuscation" in chunk for chunk in found)
    plain = honest.ask(chat("Who wants usage?")).json
    assert texts == {plain["choices"][0]["message"]["content"]}
    assert usages == [plain["usage"]]
    if first:
        # The first caller saw no more than its wish either, although more was asked upstream.
        found = chunks(miss.response.content)
        assert any(chunk.get("usage") for chunk in found) == (first is ASKS_USAGE)
        assert honest.provider.calls[0].json["stream_options"]["include_usage"] is True


def test_completions_show_usage_only_to_those_who_ask(honest):
    body = {"model": MODEL, "prompt": "Once", "stream": True}
    path = "/openai/v1/completions"
    honest.ask(body, path=path)
    bare = chunks(honest.ask(body, path=path).response.content)
    assert not any("usage" in chunk for chunk in bare)
    full = chunks(honest.ask({**body, **ASKS_USAGE}, path=path).response.content)
    assert full[-1]["usage"]["total_tokens"] > 0
    assert [chunk["choices"] for chunk in full[:-1]] == [chunk["choices"] for chunk in bare]


def test_together_shows_usage_to_everybody_as_it_does_itself(honest):
    path = "/together/v1/chat/completions"
    for body in (chat("Usage?", stream=True), chat("Usage?", stream=True)):
        found = chunks(honest.ask(body, path=path).response.content)
        assert [bool(chunk.get("usage")) for chunk in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("first_form", ["plain", "stream"])
@pytest.mark.parametrize("form", ["plain", "stream"])
def test_responses_repeat_each_callers_own_metadata(honest, first_form, form):
    mine = {
        "metadata": {"run": "1"}, "user": "lovelace", "safety_identifier": "s-1", "prompt_cache_key": "p-1",
    }  # fmt: skip
    body = {"model": MODEL, "input": "Whose?"}
    honest.ask({**body, **mine, "stream": first_form == "stream"}, path=RESPONSES)
    theirs = {"metadata": {"run": "2", "more": "x"}, "user": "bob"}
    for extra, expected in (
        (theirs, {"metadata": theirs["metadata"], "user": "bob", "safety_identifier": None, "prompt_cache_key": None}),
        ({}, {"metadata": {}, "user": None, "safety_identifier": None, "prompt_cache_key": None}),
        (mine, mine),
    ):
        hit = honest.ask({**body, **extra, "stream": form == "stream"}, path=RESPONSES)
        assert "hit" in hit.status
        for response in _responses(hit.response.content, form):
            shown = {name: response.get(name) for name in expected}
            assert shown == expected
        assert extra is mine or b"lovelace" not in hit.response.content


def _responses(body: bytes, form: str) -> list[Any]:
    """Return every whole response in a body: the one, or those of created, in_progress and completed."""
    if form == "plain":
        return [json.loads(body)]
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    found = [event["response"] for line in lines if "response" in (event := json.loads(line[6:]))]
    assert len(found) == 3
    return found


def test_followers_of_a_flight_get_their_own_metadata_too(honest):
    honest.provider.script(hold=True)
    before = honest.provider.call_count
    with ThreadPoolExecutor(4) as pool:
        sent = [
            pool.submit(
                honest.send,
                {"model": MODEL, "input": "Together", "metadata": {"run": str(number)}, "stream": number % 2 == 1},
                path=RESPONSES,
            )
            for number in range(4)
        ]
        honest.provider.wait_for_calls(before + 1)
        flights = honest.gateway.parts.flights
        wait_until(lambda: sum(flight.readers for flight in flights._by_key.values()) == 4, what="four readers")
        honest.provider.release()
        responses = [future.result() for future in sent]
    assert honest.provider.call_count == before + 1
    ids = set()
    for number, response in enumerate(responses):
        for shown in _responses(response.content, "stream" if number % 2 else "plain"):
            assert shown["metadata"] == {"run": str(number)}
            ids.add(shown["id"])
    assert len(ids) == 1


@pytest.mark.parametrize("member", ["user", "metadata", "safety_identifier", "service_tier", "prompt_cache_key"])
def test_members_that_do_not_change_the_answer_are_outside_the_key(honest, member):
    value = {"run": "1"} if member == "metadata" else "default"
    first = honest.ask(chat("Same answer"))
    assert honest.ask(chat("Same answer", **{member: value})).text == first.text
    assert honest.provider.call_count == 1


def test_anthropic_metadata_and_cache_control_are_outside_the_key_and_arrive_upstream(honest):
    path = "/anthropic/v1/messages"
    block = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
    first = honest.ask({**body, "metadata": {"user_id": "lovelace"}}, path=path)
    assert honest.provider.calls[-1].json["metadata"] == {"user_id": "lovelace"}
    assert honest.provider.calls[-1].json["messages"][0]["content"][0] == block
    plain_block = {"type": "text", "text": "Hello"}
    again = honest.ask({**body, "messages": [{"role": "user", "content": [plain_block]}]}, path=path)
    assert again.response.content == first.response.content
    assert "hit" in again.status


def test_what_a_caller_sends_goes_upstream_byte_for_byte(honest):
    odd = b'{ "model":"priced-1",\n"messages" : [{"role":"user","content":"caf\\u00e9 \xf0\x9f\x91\x8b"}], "temperature":1.0 }'
    honest.ask(odd)
    assert honest.provider.calls[-1].body == odd
