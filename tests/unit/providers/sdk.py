"""Reads bytes as the official clients do: through their own decoders and accumulators."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
from anthropic.lib.streaming._messages import accumulate_event
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState

from agentcache.providers.reading import encode_json

_SSE = {"content-type": "text/event-stream; charset=utf-8"}
_JSON = {"content-type": "application/json"}

_body = b""
_headers: dict[str, str] = {}


def _reply(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, headers=_headers, content=_body)


_transport = httpx2.Client(transport=httpx2.MockTransport(_reply))
_openai = openai.OpenAI(api_key="x", base_url="http://sdk.test/v1", http_client=_transport, max_retries=0)
_anthropic = anthropic.Anthropic(api_key="x", base_url="http://sdk.test", http_client=_transport, max_retries=0)


def _will_reply(body: bytes, headers: dict[str, str]) -> None:
    global _body, _headers
    _body, _headers = body, headers


def chat_chunks(stream: bytes) -> list[Any]:
    _will_reply(stream, _SSE)
    return list(_openai.chat.completions.create(model="m", messages=[], stream=True))


def chat_from_stream(stream: bytes) -> Any:
    state: Any = ChatCompletionStreamState()
    for chunk in chat_chunks(stream):
        # Comments of gateways and filter results have no choices, which the accumulator takes for the end.
        state.handle_chunk(chunk)
    return settled(state.current_completion_snapshot.to_dict())


def chat_from_plain(answer: dict[str, Any]) -> Any:
    _will_reply(encode_json(answer), _JSON)
    return settled(_openai.chat.completions.create(model="m", messages=[]).to_dict())


def completion_chunks(stream: bytes) -> list[Any]:
    _will_reply(stream, _SSE)
    return list(_openai.completions.create(model="m", prompt="", stream=True))


def completion_from_plain(answer: dict[str, Any]) -> Any:
    _will_reply(encode_json(answer), _JSON)
    return settled(_openai.completions.create(model="m", prompt="").to_dict())


def response_events(stream: bytes) -> list[Any]:
    _will_reply(stream, _SSE)
    return list(_openai.responses.create(model="m", input="", stream=True))


def response_from_stream(stream: bytes) -> Any:
    """Return the final response, and the text and arguments that the deltas alone spell."""
    state: Any = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    for event in response_events(stream):
        state.handle_event(event)
    return _dumped(state._completed_response), _dumped(state._ResponseStreamState__current_snapshot)


def _dumped(model: Any) -> Any:
    # The accumulators put classes of their own in fields of other types, which pydantic warns of.
    return settled(model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False))


def response_from_plain(answer: dict[str, Any]) -> Any:
    _will_reply(encode_json(answer), _JSON)
    return _dumped(_openai.responses.create(model="m", input=""))


def message_from_stream(stream: bytes) -> Any:
    _will_reply(stream, _SSE)
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in _anthropic.messages.create(model="m", messages=[], max_tokens=9, stream=True):
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    return settled(snapshot.to_dict())


def message_from_plain(answer: dict[str, Any]) -> Any:
    _will_reply(encode_json(answer), _JSON)
    return settled(_anthropic.messages.create(model="m", messages=[], max_tokens=9).to_dict())


#: What the clients' accumulators add of their own.
_ADDED = {"parsed", "parsed_arguments", "parsed_output"}


def settled(value: Any, *, in_calls: bool = False) -> Any:
    """Drop absent members (None), what accumulators add, and the stream index that they leave in tool calls."""
    if isinstance(value, dict):
        return {
            name: settled(member, in_calls=name == "tool_calls")
            for name, member in value.items()
            if member is not None and name not in _ADDED and not (in_calls and name == "index")
        }
    if isinstance(value, list):
        return [settled(member, in_calls=in_calls) for member in value]
    return value
