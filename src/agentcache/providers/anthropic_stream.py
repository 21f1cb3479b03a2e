"""Messages as Anthropic shapes them: what a good answer is, and how a stream becomes one and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentcache.providers.dialect import COMPLETE, Json, SSEEvent, Usage, Verdict
from agentcache.providers.reading import (
    UNREADABLE,
    count,
    decode_json,
    encode_json,
    items,
    judge_ending,
    members,
    text_pieces,
    word,
)
from agentcache.providers.sse import named_event

#: Blocks whose `input` is streamed as JSON text.
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
#: Delta type -> (its member, the block's member that grows by it).
_GROWING = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}
#: Members of the answer that `message_delta` brings.
_ENDING = ("stop_reason", "stop_sequence", "stop_details", "container")
#: Usage members that `message_delta` repeats, cumulative.
_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)


def message_usage(answer: Json) -> Usage:
    """Read `usage`; cached tokens are counted beside `input_tokens` here, so they are added."""
    usage = members(answer.get("usage"))
    read = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) + read + written,
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=read,
        cache_write_tokens=written,
    )


def judge_message(answer: Json) -> Verdict:
    """Accept a message that ended well and says or calls something."""
    if answer.get("type") == "error" or answer.get("error"):
        return Verdict(False, "error_in_body")
    content = answer.get("content")
    if answer.get("type") != "message" or not isinstance(content, list):
        return Verdict(False, "malformed")
    ending = judge_ending(answer.get("stop_reason"))
    if not ending.storable:
        return ending
    if not all(isinstance(block, dict) for block in content):
        return Verdict(False, "malformed")
    calls = [block for block in content if word(block.get("type")) in _CALLS]
    if not all(_is_whole_call(block) for block in calls):
        return Verdict(False, "bad_tool_arguments")
    if answer["stop_reason"] == "tool_use" and not calls:
        return Verdict(False, "incomplete")
    return COMPLETE if any(_says_something(block) for block in content) else Verdict(False, "empty")


def _is_whole_call(block: Json) -> bool:
    return all(isinstance(block.get(name), str) and block[name] for name in ("id", "name")) and isinstance(
        block.get("input"), dict
    )


def _says_something(block: Json) -> bool:
    kind = word(block.get("type"))
    if kind == "text":
        return bool(block.get("text"))
    return kind not in {"thinking", "redacted_thinking"}


class MessageJoiner:
    """Joins one stream of messages events."""

    def __init__(self) -> None:
        self.finished = False
        self._reason = ""
        self._message: Json | None = None
        self._blocks: list[Json] = []
        #: Text that is still growing: (block position, member) -> pieces.
        self._growing: dict[tuple[int, str], list[str]] = {}
        self._open: set[int] = set()

    def add(self, event: SSEEvent) -> None:
        """Take the next event."""
        if not self._reason and event.event != "ping" and (event.data or event.event):
            self._read(event)
        if event.event in {"message_stop", "error"}:
            self.finished = True

    def _read(self, event: SSEEvent) -> None:
        try:
            payload = decode_json(event.data)
            if not isinstance(payload, dict) or payload.get("type") != event.event:
                # The official clients skip an event whose name is missing.
                raise ValueError("event name and type differ")
            self._take(event.event, payload)
        except UNREADABLE:
            self._reason = "malformed"

    def _take(self, kind: str, payload: Json) -> None:
        if kind == "error":
            self._reason = "error_event"
        elif self.finished:
            raise ValueError("event after message_stop")
        elif kind == "message_start":
            self._start(payload)
        elif self._message is None:
            raise ValueError("event before message_start")
        elif kind == "content_block_start":
            self._start_block(payload)
        elif kind == "content_block_delta":
            self._grow_block(payload)
        elif kind == "content_block_stop":
            self._stop_block(payload)
        elif kind == "message_delta":
            self._end(self._message, payload)
        # Other types may be added to the API at any time and are passed on unread.

    def _start(self, payload: Json) -> None:
        message = payload.get("message")
        if self._message is not None or not isinstance(message, dict):
            raise ValueError("second or empty message_start")
        self._message = dict(message)
        content = message.get("content") or []
        if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
            raise ValueError("content is not a list of blocks")
        self._blocks = [dict(block) for block in content]

    def _start_block(self, payload: Json) -> None:
        block, index = payload.get("content_block"), payload.get("index")
        if not isinstance(block, dict) or index != len(self._blocks):
            raise ValueError("block out of order")
        self._blocks.append(dict(block))
        self._open.add(len(self._blocks) - 1)

    def _opened(self, payload: Json) -> int:
        index = payload.get("index")
        if not isinstance(index, int) or index not in self._open:
            raise ValueError("no such open block")
        return index

    def _grow_block(self, payload: Json) -> None:
        index = self._opened(payload)
        delta = payload.get("delta")
        if not isinstance(delta, dict):
            raise ValueError("a delta is not an object")
        block, kind = self._blocks[index], word(delta.get("type"))
        if kind == "input_json_delta":
            self._append(index, "input", delta.get("partial_json"))
        elif kind in _GROWING:
            source, target = _GROWING[kind]
            self._append(index, target, delta.get(source))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
        else:
            # signature_delta, and kinds that are yet to come: the member is set.
            block.update({name: value for name, value in delta.items() if name != "type"})

    def _append(self, index: int, member: str, piece: object) -> None:
        if not isinstance(piece, str):
            raise ValueError("a piece of text is not a string")
        pieces = self._growing.get((index, member))
        if pieces is None:
            before = self._blocks[index].get(member)
            pieces = self._growing[index, member] = [before] if isinstance(before, str) else []
        pieces.append(piece)

    def _stop_block(self, payload: Json) -> None:
        index = self._opened(payload)
        self._open.discard(index)
        block = self._blocks[index]
        for member in ("text", "thinking", "input"):
            pieces = self._growing.pop((index, member), None)
            if pieces is None:
                continue
            text = "".join(pieces)
            if member != "input":
                block[member] = text
            elif text:
                self._read_input(block, text)

    def _read_input(self, block: Json, text: str) -> None:
        try:
            block["input"] = decode_json(text)
        except UNREADABLE:
            self._reason = "bad_tool_arguments"
            return
        if not isinstance(block["input"], dict):
            self._reason = "bad_tool_arguments"

    @staticmethod
    def _end(message: Json, payload: Json) -> None:
        message.update(members(payload.get("delta")))
        counts = {name: value for name, value in members(payload.get("usage")).items() if value is not None}
        message["usage"] = {**members(message.get("usage")), **counts}
        message.update({k: v for k, v in payload.items() if k not in {"type", "delta", "usage"}})

    def verdict(self) -> Verdict:
        """Judge what came so far."""
        if self._reason:
            return Verdict(False, self._reason)
        if not self.finished:
            return Verdict(False, "no_terminal_event")
        return Verdict(False, "incomplete") if self._open else judge_message(self.answer())

    def answer(self) -> Json:
        """Return the plain message."""
        return {**(self._message or {}), "content": list(self._blocks)}


def _event(kind: str, **payload: Any) -> bytes:
    return named_event(kind, {"type": kind, **payload})


def _block_events(index: int, block: Json) -> list[bytes]:
    """Stream one content block; kinds that do not grow come whole in `content_block_start`."""
    opening = dict(block)
    deltas: list[Json] = []
    kind = word(block.get("type"))
    if kind == "text" and isinstance(block.get("text"), str):
        opening["text"] = ""
        deltas += [{"type": "text_delta", "text": piece} for piece in text_pieces(block["text"])]
        if citations := items(block.get("citations")):
            opening["citations"] = []
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
    elif kind == "thinking" and isinstance(block.get("thinking"), str):
        opening["thinking"] = ""
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in text_pieces(block["thinking"])]
        if isinstance(block.get("signature"), str):
            opening["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in _CALLS and isinstance(block.get("input"), dict):
        opening["input"] = {}
        pieces = ["", *text_pieces(encode_json(block["input"]).decode())]
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        _event("content_block_start", index=index, content_block=opening),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


#: `error.type` by HTTP status.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def message_error(status: int, code: str, message: str, param: str | None) -> Json:
    """Return an error in Anthropic's shape; our stable code is in `error.details`. The gateway fills `request_id`."""
    details: Json = {"error_code": code}
    if param is not None:
        details["param"] = param
    kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}, "request_id": None}


@dataclass(frozen=True, slots=True)
class MessageStream:
    """The codec of `POST /v1/messages`."""

    def joiner(self) -> MessageJoiner:
        """Return a fresh reader."""
        return MessageJoiner()

    def split(self, answer: Json, _request: Json) -> bytes:
        """Stream a plain message."""
        usage = members(answer.get("usage"))
        opening = {name: value for name, value in answer.items() if name not in _ENDING}
        opening.update(content=[], stop_reason=None, stop_sequence=None, usage={**usage, "output_tokens": 0})
        ending = {name: answer[name] for name in _ENDING if name in answer}
        totals = {name: usage[name] for name in _CUMULATIVE if name in usage}
        events = [_event("message_start", message=opening)]
        for index, block in enumerate(items(answer.get("content"))):
            events += _block_events(index, members(block))
        events.append(_event("message_delta", delta=ending, usage=totals))
        events.append(_event("message_stop"))
        return b"".join(events)

    def passes_all(self, _request: Json) -> bool:
        """Every caller sees every event."""
        return True

    def for_client(self, event: SSEEvent, _request: Json) -> bytes | None:
        """Return the event as it is."""
        return event.raw

    def replay(self, body: bytes, _request: Json) -> bytes:
        """Return the stored stream as it is."""
        return body

    def error_event(self, code: str, message: str) -> bytes:
        """Return the event that makes the SDKs raise."""
        kind = "timeout_error" if code == "upstream_timeout" else "api_error"
        error = {"type": kind, "message": message, "details": {"error_code": code}}
        return _event("error", error=error, request_id=None)


MESSAGE_STREAM = MessageStream()
