"""Scenario C7 at codec level: only whole, good answers may be stored, and no end is ever invented."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentcache.providers.anthropic_stream import MESSAGE_STREAM, judge_message
from agentcache.providers.dialect import StreamCodec, Verdict
from agentcache.providers.openai_chat import CHAT_STREAM, judge_chat
from agentcache.providers.openai_completions import judge_completion
from agentcache.providers.openai_responses import RESPONSE_STREAM, judge_response
from agentcache.providers.sse import SSEParser, named_event

DONE = b"data: [DONE]\n\n"
HEAD: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: Any, finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**HEAD, "choices": [choice]}).encode() + b"\n\n"


def call(arguments: str, name: str = "look_up") -> bytes:
    return chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
            ]
        }
    )


ROLE = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'

CHAT_STREAMS = [
    ("cut before the first event", b"", "no_terminal_event"),
    ("cut inside an event", ROLE + TEXT + b'data: {"id":"c1","cho', "no_terminal_event"),
    ("cut between events", ROLE + TEXT, "no_terminal_event"),
    ("cut after finish_reason, no terminator", ROLE + TEXT + STOP, "no_terminal_event"),
    ("terminator without its blank line", ROLE + TEXT + STOP + b"data: [DONE]", "no_terminal_event"),
    ("no finish_reason", ROLE + TEXT + DONE, "no_finish_reason"),
    (
        "one of two choices without finish_reason",
        ROLE + TEXT + chunk({"content": "b"}, None, 1) + STOP + DONE,
        "no_finish_reason",
    ),
    ("a choice that never came", chunk({"content": "b"}, "stop", 1) + DONE, "incomplete"),
    ("length", ROLE + TEXT + chunk({}, "length") + DONE, "length"),
    ("content_filter", ROLE + TEXT + chunk({}, "content_filter") + DONE, "content_filter"),
    ("an ending nobody knows", ROLE + TEXT + chunk({}, "meltdown") + DONE, "unknown_finish_reason"),
    ("provider ran out", ROLE + TEXT + chunk({}, "insufficient_system_resource") + DONE, "incomplete"),
    ("error event midway, then the end", ROLE + TEXT + ERROR + DONE, "error_event"),
    ("error event after 200 and nothing else", ERROR, "error_event"),
    ("error event with a name", b'event: error\ndata: {"message":"x"}\n\n' + DONE, "error_event"),
    ("refusal", ROLE + chunk({"refusal": "No."}) + STOP + DONE, "refusal"),
    ("tool arguments cut", ROLE + call('{"city":"Par') + chunk({}, "tool_calls") + DONE, "bad_tool_arguments"),
    ("tool arguments not an object", ROLE + call("[1]") + chunk({}, "tool_calls") + DONE, "bad_tool_arguments"),
    ("tool without a name", ROLE + call("{}", "") + chunk({}, "tool_calls") + DONE, "bad_tool_arguments"),
    ("tool calls announced, none made", ROLE + chunk({}, "tool_calls") + DONE, "incomplete"),
    ("nothing said", ROLE + STOP + DONE, "empty"),
    ("reasoning and nothing said", ROLE + chunk({"reasoning_content": "hm"}) + STOP + DONE, "empty"),
    ("no choices at all", DONE, "empty"),
    ("bad JSON", ROLE + b"data: {nope}\n\n" + STOP + DONE, "malformed"),
    (
        "invalid UTF-8",
        ROLE + b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n' + STOP + DONE,
        "malformed",
    ),
    ("half a surrogate pair", ROLE + chunk({"content": "\ud83d"}) + STOP + DONE, "malformed"),
    ("not an object", ROLE + b"data: 7\n\n" + STOP + DONE, "malformed"),
    ("choices of the wrong type", ROLE + b'data: {"choices":{}}\n\n' + STOP + DONE, "malformed"),
    ("a choice of the wrong type", ROLE + b'data: {"choices":[3]}\n\n' + STOP + DONE, "malformed"),
    ("delta of the wrong type", ROLE + chunk(["x"]) + STOP + DONE, "malformed"),
    ("content changes its type", ROLE + TEXT + chunk({"content": ["x"]}) + STOP + DONE, "malformed"),
    ("more after the end", ROLE + TEXT + STOP + DONE + TEXT, "malformed"),
    ("too deep", ROLE + b"data: " + b"[" * 5000 + b"]" * 5000 + b"\n\n" + STOP + DONE, "malformed"),
]

MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
    "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip


def event(kind: str, **payload: Any) -> bytes:
    return named_event(kind, {"type": kind, **payload})


START = event("message_start", message=MESSAGE)
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
SAY = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
CLOSE = event("content_block_stop", index=0)
END = event("message_stop")
BLOCK = OPEN + SAY + CLOSE


def ending(reason: str | None) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 5})


def tool(partial: str, name: str = "look_up") -> bytes:
    block = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": partial}
    return (
        event("content_block_start", index=0, content_block=block)
        + event("content_block_delta", index=0, delta=delta)
        + CLOSE
    )


OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

MESSAGE_STREAMS = [
    ("cut before the first event", b"", "no_terminal_event"),
    ("cut inside an event", START + OPEN + SAY[:-9], "no_terminal_event"),
    ("cut between events", START + OPEN + SAY, "no_terminal_event"),
    ("cut after stop_reason, no message_stop", START + BLOCK + ending("end_turn"), "no_terminal_event"),
    ("message_stop without its blank line", START + BLOCK + ending("end_turn") + END[:-1], "no_terminal_event"),
    ("no stop_reason", START + BLOCK + END, "no_finish_reason"),
    ("stop_reason null", START + BLOCK + ending(None) + END, "no_finish_reason"),
    ("max_tokens", START + BLOCK + ending("max_tokens") + END, "length"),
    ("context window", START + BLOCK + ending("model_context_window_exceeded") + END, "length"),
    ("pause_turn", START + BLOCK + ending("pause_turn") + END, "pause_turn"),
    ("refusal", START + BLOCK + ending("refusal") + END, "refusal"),
    ("an ending nobody knows", START + BLOCK + ending("meltdown") + END, "unknown_finish_reason"),
    ("error event midway, then the end", START + OPEN + SAY + OVERLOADED + END, "error_event"),
    ("error event after 200 and nothing else", OVERLOADED, "error_event"),
    ("tool input cut", START + tool('{"city":"Par') + ending("tool_use") + END, "bad_tool_arguments"),
    ("tool input not an object", START + tool("[1]") + ending("tool_use") + END, "bad_tool_arguments"),
    ("tool without a name", START + tool("{}", "") + ending("tool_use") + END, "bad_tool_arguments"),
    ("tool use announced, none made", START + BLOCK + ending("tool_use") + END, "incomplete"),
    ("a block that never closed", START + OPEN + SAY + ending("end_turn") + END, "incomplete"),
    ("nothing said", START + ending("end_turn") + END, "empty"),
    ("an empty text", START + OPEN + CLOSE + ending("end_turn") + END, "empty"),
    ("bad JSON", START + b"event: content_block_delta\ndata: {nope}\n\n" + END, "malformed"),
    ("invalid UTF-8", START + OPEN + SAY.replace(b"Hello", b"\xff") + CLOSE + ending("end_turn") + END, "malformed"),
    ("not an object", START + b"event: x\ndata: 7\n\n" + END, "malformed"),
    ("no event name", START + SAY.partition(b"\n")[2] + END, "malformed"),
    ("no message_start", BLOCK + ending("end_turn") + END, "malformed"),
    ("two messages", START + BLOCK + START + ending("end_turn") + END, "malformed"),
    ("a block is missing", START + BLOCK.replace(b'"index":0', b'"index":1') + ending("end_turn") + END, "malformed"),
    ("a delta for a closed block", START + BLOCK + SAY + ending("end_turn") + END, "malformed"),
    ("text of the wrong type", START + OPEN + SAY.replace(b'"Hello"', b"1") + CLOSE + END, "malformed"),
    ("more after the end", START + BLOCK + ending("end_turn") + END + SAY, "malformed"),
]

SAID = {"id": "i", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}  # fmt: skip
CALLED = {"id": "i", "type": "function_call", "call_id": "c", "name": "f", "status": "completed", "arguments": "{}"}


def response(status: str | None = "completed", output: Any = (SAID,), **members: Any) -> dict[str, Any]:
    whole = {"id": "r", "object": "response", "status": status, "output": output, "error": None, **members}
    return {**whole, "output": list(output) if isinstance(output, tuple) else output}


def ended(kind: str, **members: Any) -> bytes:
    return event(f"response.{kind}", response=response(**members), sequence_number=9)


BEGUN = event("response.created", response=response("in_progress", ()), sequence_number=0)
CUT_OFF = {"reason": "max_output_tokens"}

RESPONSE_STREAMS = [
    ("cut before the first event", b"", "no_terminal_event"),
    ("cut between events", BEGUN, "no_terminal_event"),
    ("cut inside the last event", BEGUN + ended("completed")[:-4], "no_terminal_event"),
    ("incomplete: length", BEGUN + ended("incomplete", status="incomplete", incomplete_details=CUT_OFF), "length"),
    (
        "incomplete: filter",
        BEGUN + ended("incomplete", status="incomplete", incomplete_details={"reason": "content_filter"}),
        "content_filter",
    ),
    (
        "incomplete: steered",
        BEGUN + ended("incomplete", status="incomplete", incomplete_details={"reason": "steered"}),
        "incomplete",
    ),
    ("incomplete: untold", BEGUN + ended("incomplete", status="incomplete"), "incomplete"),
    ("failed", BEGUN + ended("failed", status="failed", error={"code": "server_error"}), "error_event"),
    ("error event", BEGUN + event("error", code="x", message="y", sequence_number=1), "error_event"),
    ("error after the end", BEGUN + ended("completed") + event("error", code="x", message="y"), "error_event"),
    ("completed with an error in it", BEGUN + ended("completed", error={"code": "x"}), "error_in_body"),
    ("completed, still in progress", BEGUN + ended("completed", status="in_progress"), "incomplete"),
    ("completed without status", BEGUN + ended("completed", status=None), "no_finish_reason"),
    ("nothing said", BEGUN + ended("completed", output=()), "empty"),
    ("only reasoning", BEGUN + ended("completed", output=({"type": "reasoning", "summary": []},)), "empty"),
    ("an unfinished item", BEGUN + ended("completed", output=({**SAID, "status": "incomplete"},)), "incomplete"),
    ("arguments cut", BEGUN + ended("completed", output=({**CALLED, "arguments": '{"a"'},)), "bad_tool_arguments"),
    (
        "custom call without input",
        BEGUN + ended("completed", output=({**CALLED, "type": "custom_tool_call"},)),
        "bad_tool_arguments",
    ),
    (
        "refusal",
        BEGUN + ended("completed", output=({**SAID, "content": [{"type": "refusal", "refusal": "no"}]},)),
        "refusal",
    ),
    ("no response in it", BEGUN + event("response.completed", response=None, sequence_number=1), "malformed"),
    ("output of the wrong type", BEGUN + ended("completed", output={}), "malformed"),
    ("events out of order", BEGUN + BEGUN + ended("completed"), "malformed"),
    ("bad JSON", BEGUN + b"event: response.x\ndata: {\n\n" + ended("completed"), "malformed"),
    ("invalid UTF-8", BEGUN + ended("completed").replace(b"Hello", b"\xff"), "malformed"),
    (
        "more after the end",
        BEGUN + ended("completed") + event("response.output_text.delta", delta="x", sequence_number=10),
        "malformed",
    ),
]


def read(codec: StreamCodec, body: bytes) -> Any:
    joiner = codec.joiner()
    for sse_event in SSEParser().feed(body):
        joiner.add(sse_event)
    return joiner


def verdict_of(codec: StreamCodec, body: bytes) -> Verdict:
    verdict: Verdict = read(codec, body).verdict()
    return verdict


ALL = [
    *((CHAT_STREAM, *case) for case in CHAT_STREAMS),
    *((MESSAGE_STREAM, *case) for case in MESSAGE_STREAMS),
    *((RESPONSE_STREAM, *case) for case in RESPONSE_STREAMS),
]


@pytest.mark.parametrize(("codec", "what", "body", "reason"), ALL, ids=[f"{type(c[0]).__name__}-{c[1]}" for c in ALL])
def test_bad_stream_is_not_storable(codec: StreamCodec, what: str, body: bytes, reason: str) -> None:
    joiner = read(codec, body)
    verdict = joiner.verdict()
    assert not verdict.storable
    assert verdict.reason == reason
    # The gateway adds an error event of its own only where the provider did not say that it was over.
    assert joiner.finished == (reason != "no_terminal_event")
    # Whatever came, `answer` returns something and adds no ending of its own.
    answer = joiner.answer()
    if what.startswith(("cut before", "cut inside", "cut between")):
        assert "stop" not in [choice.get("finish_reason") for choice in answer.get("choices", [])]
        assert answer.get("stop_reason") is None
        assert answer.get("status") != "completed"


GOOD = [
    (CHAT_STREAM, ROLE + TEXT + STOP + DONE),
    (CHAT_STREAM, ROLE + call("{}") + chunk({}, "tool_calls") + DONE),
    (CHAT_STREAM, b": hello\n\n" + ROLE + TEXT + STOP + b": bye\n\n" + DONE),
    (CHAT_STREAM, ROLE + TEXT + chunk({}, "eos") + DONE),
    (MESSAGE_STREAM, START + BLOCK + ending("end_turn") + END),
    (MESSAGE_STREAM, START + tool("") + ending("tool_use") + END),
    (MESSAGE_STREAM, START + BLOCK + event("news", a=1) + ending("stop_sequence") + END),
    (RESPONSE_STREAM, BEGUN + ended("completed")),
    (RESPONSE_STREAM, BEGUN + ended("completed", output=(CALLED,))),
    (
        RESPONSE_STREAM,
        BEGUN
        + event("response.output_item.done", output_index=0, item=SAID, sequence_number=1)
        + ended("completed", output=None),
    ),
]


@pytest.mark.parametrize(("codec", "body"), GOOD)
def test_good_stream_is_storable_only_when_whole(codec: StreamCodec, body: bytes) -> None:
    assert verdict_of(codec, body) == Verdict(True)
    last = body.rstrip(b"\n").rfind(b"\n\n")
    for cut in {*range(0, last, 7), last, len(body) - 1}:
        assert not verdict_of(codec, body[:cut]).storable


CHOICE: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}


def chat(*choices: Any, **members: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion", "choices": list(choices), **members}


PLAIN = [
    (judge_chat, chat(CHOICE), "complete"),
    (judge_chat, chat({**CHOICE, "message": {"content": None, "audio": {"data": "x"}}}), "complete"),
    (judge_chat, chat(CHOICE, error={"message": "x"}), "error_in_body"),
    (judge_chat, {"error": "x"}, "error_in_body"),
    (judge_chat, {}, "malformed"),
    (judge_chat, chat(), "empty"),
    (judge_chat, chat("x"), "malformed"),
    (judge_chat, chat({**CHOICE, "finish_reason": None}), "no_finish_reason"),
    (judge_chat, chat({**CHOICE, "finish_reason": 3}), "malformed"),
    (judge_chat, chat({**CHOICE, "finish_reason": "length"}), "length"),
    (judge_chat, chat(CHOICE, {**CHOICE, "index": 1, "finish_reason": "content_filter"}), "content_filter"),
    (judge_chat, chat(CHOICE, CHOICE), "incomplete"),
    (judge_chat, chat({**CHOICE, "message": None}), "malformed"),
    (judge_chat, chat({**CHOICE, "message": {"content": ""}}), "empty"),
    (judge_chat, chat({**CHOICE, "message": {"refusal": "no"}}), "refusal"),
    (judge_chat, chat({**CHOICE, "message": {"tool_calls": {"a": 1}}}), "malformed"),
    (judge_chat, chat({**CHOICE, "message": {"tool_calls": ["x"]}}), "bad_tool_arguments"),
    (judge_chat, chat({**CHOICE, "message": {"function_call": {"name": "f", "arguments": "{"}}}), "bad_tool_arguments"),
    (judge_chat, chat({**CHOICE, "message": {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]}}), "complete"),
    (judge_completion, {"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]}, "complete"),
    (judge_completion, {"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]}, "length"),
    (judge_completion, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, "empty"),
    (judge_completion, {"choices": [{"index": 0, "finish_reason": "stop"}]}, "malformed"),
    (judge_message, {**MESSAGE, "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}, "complete"),
    (judge_message, {"type": "error", "error": {"type": "overloaded_error"}}, "error_in_body"),
    (judge_message, {**MESSAGE, "content": "Hi", "stop_reason": "end_turn"}, "malformed"),
    (judge_message, {**MESSAGE, "content": ["Hi"], "stop_reason": "end_turn"}, "malformed"),
    (judge_message, {**MESSAGE, "content": [{"type": "thinking", "thinking": "x"}], "stop_reason": "end_turn"}, "empty"),
    (judge_message, {**MESSAGE, "content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}], "stop_reason": "tool_use"}, "bad_tool_arguments"),
    (judge_response, response(), "complete"),
    (judge_response, response("queued"), "incomplete"),
    (judge_response, response("cancelled"), "incomplete"),
    (judge_response, response(output=("x",)), "malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("judge", "answer", "reason"), PLAIN)
def test_plain_answer(judge: Any, answer: dict[str, Any], reason: str) -> None:
    assert judge(answer) == Verdict(reason == "complete", reason)


def test_at_least_the_22_bad_endings_of_each_dialect_are_here() -> None:
    assert min(len(CHAT_STREAMS), len(MESSAGE_STREAMS), len(RESPONSE_STREAMS)) >= 22
