"""Answers of any shape: a provider may send them, and callers may store their own through the native API."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.providers.dialect import Endpoint, SSEEvent
from agentcache.providers.reading import encode_json, word
from agentcache.providers.registry import DIALECTS
from agentcache.providers.sse import named_event, parse_events
from tests.support.tiers import count
from tests.unit.providers.generated import json_values

REQUEST = {"model": "m", "stream": True, "metadata": {"a": "b"}}
STREAMED = {
    f"{dialect.name}/{endpoint.name}": endpoint
    for dialect in DIALECTS.values()
    for endpoint in dialect.endpoints
    if endpoint.stream is not None and dialect.name in {"openai", "anthropic", "together"}
}
TOKEN = {"token": "Hi", "logprob": -1, "bytes": None, "top_logprobs": []}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
PART = {"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation"}], "logprobs": [TOKEN]}
REASONING = {"type": "reasoning", "summary": [{"text": "s"}], "content": [{"text": "t"}]}
#: One answer that has every member the codecs look at.
WHOLE: dict[str, Any] = {
    "id": "x", "type": "message", "object": "o", "model": "m", "created": 1, "error": None, "status": "completed",
    "choices": [
        {"index": 0, "finish_reason": "stop", "text": "Hi", "logprobs": {"content": [TOKEN], "refusal": None},
         "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning": "r", "audio": {"data": "aGk="},
                     "tool_calls": [CALL, CUSTOM], "function_call": {"name": "f", "arguments": "{}"}}},
    ],
    "output": [
        {"type": "message", "id": "i", "status": "completed", "content": [PART, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "id": "i", "call_id": "c", "name": "f", "input": "x"},
        REASONING,
    ],
    "content": [
        {"type": "text", "text": "Hi", "citations": [{}]}, {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "end_turn", "stop_sequence": None, "metadata": {}, "incomplete_details": None,
    "usage": {"prompt_tokens": 1, "input_tokens": 1, "prompt_tokens_details": {}, "input_tokens_details": {}},
}  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, member or position) inside a value."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, name) for name, _ in pairs] + [place for _, inner in pairs for place in places(inner)]


@st.composite
def damaged(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    answer = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        container, name = draw(st.sampled_from(places(answer)))
        container[name] = draw(json_values | st.sampled_from([[], {}, [[]], [None], {"type": []}, "", None]))
    return answer


def read(endpoint: Endpoint, events: list[SSEEvent]) -> None:
    assert endpoint.stream is not None
    joiner = endpoint.stream.joiner()
    for event in events:
        joiner.add(event)
        endpoint.stream.for_client(event, REQUEST)
    joiner.verdict()
    encode_json(joiner.answer())


@pytest.mark.parametrize("endpoint", STREAMED.values(), ids=STREAMED)
@settings(max_examples=count(60, 150), deadline=None, derandomize=True)
@given(st.data())
def test_no_answer_breaks_a_codec(endpoint: Endpoint, data: st.DataObject) -> None:
    assert endpoint.stream is not None
    answer = data.draw(damaged(WHOLE))
    before = copy.deepcopy(answer)
    verdict = endpoint.judge(answer)
    assert verdict.storable == (verdict.reason == "complete")
    endpoint.usage(answer)
    endpoint.personalise(answer, REQUEST)
    stream = endpoint.stream.split(answer, REQUEST)
    assert answer == before
    read(endpoint, parse_events(stream))


@pytest.mark.parametrize("endpoint", STREAMED.values(), ids=STREAMED)
@settings(max_examples=count(60, 150), deadline=None, derandomize=True)
@given(st.data())
def test_no_event_breaks_a_reader(endpoint: Endpoint, data: st.DataObject) -> None:
    assert endpoint.stream is not None
    payloads = [
        event.data
        for event in parse_events(endpoint.stream.split(WHOLE, REQUEST))
        if not event.data.startswith(b"[DONE]")
    ]
    events: list[SSEEvent] = []
    for payload in payloads:
        value = json.loads(payload)
        if data.draw(st.integers(0, 3)) == 0:
            value = data.draw(damaged(value))
        name = word(value.get("type")).replace("\n", "").replace("\r", "")
        events += parse_events(named_event(name, value))
    read(endpoint, [*events, *parse_events(b"data: [DONE]\n\n")])
