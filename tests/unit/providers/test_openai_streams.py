"""Details of chat streams that generated examples do not reach."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from agentcache.providers.anthropic_stream import MESSAGE_STREAM
from agentcache.providers.dialect import StreamCodec
from agentcache.providers.openai_chat import CHAT_STREAM, judge_chat
from agentcache.providers.openai_completions import TEXT_STREAM
from agentcache.providers.openai_responses import RESPONSE_STREAM
from agentcache.providers.reading import decode_json
from agentcache.providers.registry import DIALECTS
from agentcache.providers.sse import data_event, parse_events
from tests.unit.providers import sdk

HEAD: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def chunks(*deltas: dict[str, Any], finish: str = "stop", **members: Any) -> bytes:
    parts: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    parts.append({"index": 0, "delta": {}, "finish_reason": finish})
    return b"".join(data_event({**HEAD, "choices": [part], **members}) for part in parts)


def join(body: bytes, codec: StreamCodec = CHAT_STREAM) -> dict[str, Any]:
    joiner = codec.joiner()
    for event in parse_events(body):
        joiner.add(event)
    return joiner.answer()


def message(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = join(body + DONE)["choices"][0]["message"]
    return found


def test_the_plain_answer_looks_like_a_plain_answer() -> None:
    answer = join(chunks({"role": "assistant", "content": ""}, {"content": "Hi"}, usage=None) + DONE)
    assert answer == {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }


def test_tool_calls_are_joined_by_index_in_any_order() -> None:
    def part(index: int, **function: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": function}]}

    opened = [
        {"tool_calls": [{"index": i, "id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        for i in (1, 0)
    ]
    body = chunks(*opened, part(0, arguments='{"a"'), part(1, arguments="{}"), part(0, arguments=":1}"))
    assert message(body)["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]


def test_providers_that_repeat_names_or_leave_out_index_and_type() -> None:
    first = {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a"'}}]}
    again = {"tool_calls": [{"function": {"name": "f", "arguments": ":1}"}}]}
    other = {"tool_calls": [{"id": "d", "function": {"name": "g", "arguments": "{}"}}]}
    assert message(chunks(first, again, other))["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "d", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_unknown_members_are_kept() -> None:
    details = [{"index": 0, "type": "reasoning.text", "text": "a", "signature": None}]
    more = [{"index": 0, "type": "reasoning.text", "text": "b", "signature": "sig"}]
    body = chunks({"content": "x", "reasoning_details": details}, {"reasoning_details": more}, citations=["u"])
    answer = join(body + DONE)
    assert answer["citations"] == ["u"]
    assert answer["choices"][0]["message"]["reasoning_details"] == [
        {"index": 0, "type": "reasoning.text", "text": "ab", "signature": "sig"}
    ]


def test_audio_fragments_are_joined_as_bytes() -> None:
    pieces = [base64.b64encode(part).decode() for part in (b"a", b"bc", b"def")]
    deltas = [{"audio": {"id": "a1", "data": piece}} for piece in pieces]
    audio = message(chunks(*deltas, {"audio": {"transcript": "hey", "expires_at": 9}}))["audio"]
    assert audio == {"id": "a1", "data": base64.b64encode(b"abcdef").decode(), "transcript": "hey", "expires_at": 9}


def test_usage_on_the_last_content_chunk_is_kept() -> None:
    together = DIALECTS["together"].find_endpoint("POST", "/v1/chat/completions")
    assert together is not None
    assert together[0].stream is not None
    body = chunks({"content": "Hi"}, usage=USAGE) + DONE
    codec = together[0].stream
    assert join(body, codec)["usage"] == USAGE
    assert codec.replay(body, {"stream": True}) == body
    again = codec.split(join(body, codec), {"stream": True})
    assert [decode_json(event.data).get("usage") for event in parse_events(again)[:-1]][-1] == USAGE


@pytest.mark.parametrize("separator", [b"", b" "])
def test_usage_goes_only_to_callers_that_asked(separator: bytes) -> None:
    body = chunks({"content": 'say ,"usage":null and "usage":{'}, usage=None)
    body = (body + data_event({**HEAD, "choices": [], "usage": USAGE}) + DONE).replace(
        b'"usage":n', b'"usage":' + separator + b"n"
    )
    unasked = CHAT_STREAM.replay(body, {"stream": True})
    assert [chunk.usage for chunk in sdk.chat_chunks(unasked)] == [None, None]
    assert all("usage" not in chunk.model_fields_set for chunk in sdk.chat_chunks(unasked))
    assert sdk.chat_from_stream(unasked)["choices"] == sdk.chat_from_stream(body)["choices"]
    assert CHAT_STREAM.replay(body, WITH_USAGE) == body
    assert CHAT_STREAM.passes_all(WITH_USAGE)
    assert not CHAT_STREAM.passes_all({"stream": True})


def test_padding_is_left_out() -> None:
    body = chunks({"content": "Hi"}, obfuscation="xyz") + DONE
    assert b"obfuscation" not in CHAT_STREAM.replay(body, {"stream": True})


def test_a_long_text_is_split_into_a_bounded_number_of_chunks() -> None:
    text = "word " * 40_000
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": None,
    }
    body = CHAT_STREAM.split({**HEAD, "object": "chat.completion", "choices": [choice]}, {"stream": True})
    assert 200 < len(parse_events(body)) < 300
    assert sdk.chat_from_stream(body)["choices"][0]["message"]["content"] == text


def test_custom_tools_and_legacy_functions_survive_the_round_trip() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "print(1)\n" * 9}}
    called: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [custom]}
    legacy: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": '{"a": 1}'},
    }
    for said, finish in ((called, "tool_calls"), (legacy, "function_call")):
        answer = {
            **HEAD,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        }
        assert judge_chat(answer).storable
        again = join(CHAT_STREAM.split(answer, {"stream": True}))
        assert again["choices"][0]["message"] == said


@pytest.mark.parametrize("codec", [CHAT_STREAM, TEXT_STREAM, MESSAGE_STREAM, RESPONSE_STREAM])
def test_an_error_event_raises_in_the_official_clients(codec: StreamCodec) -> None:
    event = codec.error_event("upstream_timeout", "The provider did not answer in time.")
    read: Any = {
        CHAT_STREAM: sdk.chat_chunks,
        TEXT_STREAM: sdk.completion_chunks,
        MESSAGE_STREAM: sdk.message_from_stream,
        RESPONSE_STREAM: sdk.response_events,
    }[codec]
    with pytest.raises(Exception, match="The provider did not answer in time") as caught:
        read(event)
    assert "APIError" in [kind.__name__ for kind in type(caught.value).__mro__]
    joiner = codec.joiner()
    for sse_event in parse_events(event):
        joiner.add(sse_event)
    assert joiner.verdict().reason == "error_event"


def test_hostile_json_in_a_stream_is_shown_as_it_came() -> None:
    raw = b'data: {"usage":nope\n\n'
    (event,) = parse_events(raw)
    assert CHAT_STREAM.for_client(event, {"stream": True}) == raw
    (named,) = parse_events(b"event: response.created\n" + raw)
    assert RESPONSE_STREAM.for_client(named, {}) == b"event: response.created\n" + raw


def test_audio_that_is_no_base64_is_joined_as_text() -> None:
    assert message(chunks({"audio": {"data": "\x80"}}, {"audio": {"data": "b"}}))["audio"] == {"data": "\x80b"}


def test_an_answer_without_choices_is_an_empty_stream() -> None:
    assert CHAT_STREAM.split({"id": "c", "choices": True}, {"stream": True}) == DONE
