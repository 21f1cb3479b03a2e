"""Scenario C8: what is replayed, in either form, parses to the same object with the official clients."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentcache.providers.anthropic_stream import MESSAGE_STREAM
from agentcache.providers.dialect import SSEEvent, StreamCodec
from agentcache.providers.openai_chat import CHAT_STREAM
from agentcache.providers.openai_completions import TEXT_STREAM
from agentcache.providers.openai_responses import RESPONSE_STREAM
from agentcache.providers.reading import decode_json
from agentcache.providers.sse import SSEParser, parse_events
from tests.support.tiers import count
from tests.unit.providers import sdk
from tests.unit.providers.generated import chat_streams, chunked, completion_streams
from tests.unit.providers.generated_messages import message_streams, responses

WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
BAD_ENDINGS = {"length", "content_filter"}


def streams(number: int) -> Any:
    return settings(
        max_examples=count(number // 3, number),
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def parsed(chunks: list[bytes]) -> list[SSEEvent]:
    parser = SSEParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    assert parser.tail() == b""
    assert b"".join(event.raw for event in events) == b"".join(chunks)
    return events


def joined(codec: StreamCodec, events: list[SSEEvent]) -> Any:
    joiner = codec.joiner()
    for event in events:
        assert not joiner.finished or not event.data
        joiner.add(event)
    assert joiner.finished
    return joiner


@streams(250)
@given(chat_streams(), st.data())
def test_chat(made: tuple[bytes, list[str], bool], data: st.DataObject) -> None:
    body, endings, has_usage = made
    events = parsed(data.draw(chunked(body)))
    joiner = joined(CHAT_STREAM, events)
    answer = joiner.answer()
    original = sdk.chat_from_stream(body)
    original.pop("obfuscation", None)
    assert sdk.chat_from_plain(answer) == original
    assert ("usage" in answer) == has_usage

    again = CHAT_STREAM.split(answer, WITH_USAGE)
    assert sdk.chat_from_stream(again) == original
    assert sdk.settled(joined(CHAT_STREAM, parse_events(again)).answer()) == sdk.settled(answer)

    if BAD_ENDINGS & set(endings):
        assert joiner.verdict().reason in {*BAD_ENDINGS, "refusal", "empty"}
        assert not joiner.verdict().storable

    for request in ({"stream": True}, WITH_USAGE):
        shown = b"".join(CHAT_STREAM.for_client(event, request) or b"" for event in events)
        unpadded = all(b"obfuscation" not in event.data for event in events)
        if unpadded:
            assert shown == body or request is not WITH_USAGE
        seen = sdk.chat_from_stream(shown)
        assert ("usage" in seen) == (has_usage and request is WITH_USAGE)
        assert {k: v for k, v in seen.items() if k != "usage"} == {k: v for k, v in original.items() if k != "usage"}
        for chunk in sdk.chat_chunks(shown):
            assert request is WITH_USAGE or "usage" not in chunk.model_fields_set
            assert chunk.obfuscation is None
        if unpadded:
            assert CHAT_STREAM.replay(body, request) == shown


@streams(60)
@given(completion_streams(), st.data())
def test_completions(body: bytes, data: st.DataObject) -> None:
    events = parsed(data.draw(chunked(body)))
    joiner = joined(TEXT_STREAM, events)
    assert joiner.verdict().storable
    answer = joiner.answer()
    plain = sdk.completion_from_plain(answer)
    for stream in (body, TEXT_STREAM.split(answer, WITH_USAGE)):
        chunks = sdk.completion_chunks(stream)
        for choice in plain["choices"]:
            parts = [c for chunk in chunks for c in chunk.choices if c.index == choice["index"]]
            assert "".join(part.text for part in parts) == choice["text"]
            assert [part.finish_reason for part in parts if part.finish_reason] == ["stop"]
            scored = [token for part in parts if part.logprobs for token in part.logprobs.tokens or []]
            assert scored == (choice.get("logprobs") or {}).get("tokens", [])
        assert sdk.settled([chunk.usage.to_dict() for chunk in chunks if chunk.usage]) == (
            [plain["usage"]] if "usage" in plain else []
        )


@streams(250)
@given(message_streams(), st.data())
def test_messages(body: bytes, data: st.DataObject) -> None:
    events = parsed(data.draw(chunked(body)))
    joiner = joined(MESSAGE_STREAM, events)
    assert joiner.verdict().storable
    answer = joiner.answer()
    original = sdk.message_from_stream(body)
    assert sdk.message_from_plain(answer) == original
    again = MESSAGE_STREAM.split(answer, {"stream": True})
    assert sdk.message_from_stream(again) == original
    assert joined(MESSAGE_STREAM, parse_events(again)).answer() == answer
    assert all(event.event == decode_json(event.data)["type"] for event in parse_events(again))
    assert b"".join(MESSAGE_STREAM.for_client(event, {}) or b"" for event in events) == body


@streams(150)
@given(responses(), st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=3)), st.data())
def test_responses(answer: dict[str, Any], metadata: dict[str, str], data: st.DataObject) -> None:
    request = {"model": "gpt-x", "stream": True, "metadata": answer["metadata"]}
    stream = RESPONSE_STREAM.split(answer, request)
    events = parsed(data.draw(chunked(stream)))
    joiner = joined(RESPONSE_STREAM, events)
    assert joiner.verdict().storable
    assert joiner.answer() == answer
    final, spelled = sdk.response_from_stream(stream)
    assert final == sdk.response_from_plain(answer)
    # What the deltas alone spell is what the final response says.
    for delivered, item in zip(spelled["output"], final["output"], strict=True):
        if item["type"] == "message":
            assert [part["text"] for part in delivered["content"]] == [part["text"] for part in item["content"]]
        elif item["type"] == "function_call":
            assert delivered["arguments"] == item["arguments"]

    other = {"model": "gpt-x", "stream": True, "metadata": metadata, "user": "u2"}
    shown = RESPONSE_STREAM.replay(stream, other)
    final, _ = sdk.response_from_stream(shown)
    assert final == {**sdk.response_from_plain(answer), "metadata": metadata, "user": "u2"}
    assert RESPONSE_STREAM.replay(stream, request) == stream
