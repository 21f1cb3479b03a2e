"""Responses as OpenAI shapes them: what a good one is, and how its stream of named events becomes one and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentcache.providers.dialect import COMPLETE, Json, SSEEvent, Usage, Verdict
from agentcache.providers.openai_response_events import response_events
from agentcache.providers.reading import (
    UNREADABLE,
    count,
    decode_json,
    is_json_object,
    items,
    members,
    mirror,
    word,
)
from agentcache.providers.sse import named_event, parse_events, with_payload

#: Members of a response that repeat what this caller sent outside the key -> what they are when it sent none.
MIRRORED: Json = {
    "metadata": {},
    "user": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
}
#: Events that carry the whole response.
_LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress", "response.completed"})
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


def response_usage(answer: Json) -> Usage:
    """Read `usage`; cached tokens are part of `input_tokens` here."""
    usage = members(answer.get("usage"))
    details = members(usage.get("input_tokens_details"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
    )


def personalise_response(answer: Json, request: Json) -> Json:
    """Repeat this caller's metadata and identifiers, not those of whoever asked first."""
    return mirror(answer, request, MIRRORED)


def judge_response(answer: Json) -> Verdict:
    """Accept a completed response that says or calls something."""
    if answer.get("error"):
        return Verdict(False, "error_in_body")
    status = answer.get("status")
    if status == "incomplete":
        reason = members(answer.get("incomplete_details")).get("reason")
        return Verdict(False, _INCOMPLETE.get(reason, "incomplete") if isinstance(reason, str) else "incomplete")
    if status is None:
        return Verdict(False, "no_finish_reason")
    if status != "completed":
        return Verdict(False, "incomplete")
    output = answer.get("output")
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return Verdict(False, "malformed")
    for item in output:
        verdict = _judge_item(item)
        if not verdict.storable:
            return verdict
    return COMPLETE if any(_says_something(item) for item in output) else Verdict(False, "empty")


def _judge_item(item: Json) -> Verdict:
    if item.get("status") is not None and item["status"] != "completed":
        return Verdict(False, "incomplete")
    kind = item.get("type")
    named = isinstance(item.get("name"), str) and item["name"] and item.get("call_id")
    if kind == "function_call" and not (named and is_json_object(item.get("arguments"))):
        return Verdict(False, "bad_tool_arguments")
    if kind == "custom_tool_call" and not (named and isinstance(item.get("input"), str)):
        return Verdict(False, "bad_tool_arguments")
    if kind == "message" and any(members(part).get("type") == "refusal" for part in items(item.get("content"))):
        return Verdict(False, "refusal")
    return COMPLETE


def _says_something(item: Json) -> bool:
    if item.get("type") == "message":
        return any(members(part).get("text") for part in items(item.get("content")))
    return item.get("type") != "reasoning"


class ResponseJoiner:
    """Reads one stream of response events; the last one holds the plain answer."""

    def __init__(self) -> None:
        self.finished = False
        self._reason = ""
        self._response: Json = {}
        self._items: dict[int, Json] = {}
        self._sequence: int | None = None

    def add(self, event: SSEEvent) -> None:
        """Take the next event."""
        if not event.data or event.data.startswith(b"[DONE]"):
            return
        kind = event.event
        try:
            payload = decode_json(event.data)
            if not isinstance(payload, dict):
                raise ValueError("not an object")
            kind = word(payload.get("type"))
            if not self._reason:
                self._take(kind, payload)
        except UNREADABLE:
            self._reason = self._reason or "malformed"
        if kind in _TERMINAL:
            self.finished = True

    def _take(self, kind: str, payload: Json) -> None:
        if kind in {"error", "response.failed"} or payload.get("error"):
            self._reason = "error_event"
            return
        if self.finished or not kind:
            raise ValueError("unexpected event")
        self._check_sequence(payload)
        if kind == "response.output_item.done":
            index, item = payload.get("output_index"), payload.get("item")
            if not isinstance(index, int) or not isinstance(item, dict):
                raise ValueError("not an output item")
            self._items[index] = item
        elif kind in {"response.completed", "response.incomplete"}:
            response = payload.get("response")
            if not isinstance(response, dict):
                raise ValueError("not a response")
            self._response = dict(response)
            if self._response.get("output") is None:
                self._response["output"] = [self._items[index] for index in sorted(self._items)]

    def _check_sequence(self, payload: Json) -> None:
        number = payload.get("sequence_number")
        if isinstance(number, int):
            if self._sequence is not None and number <= self._sequence:
                raise ValueError("events out of order")
            self._sequence = number

    def verdict(self) -> Verdict:
        """Judge what came so far."""
        if self._reason:
            return Verdict(False, self._reason)
        if not self.finished:
            return Verdict(False, "no_terminal_event")
        return judge_response(self._response)

    def answer(self) -> Json:
        """Return the plain response."""
        return self._response


@dataclass(frozen=True, slots=True)
class ResponseStream:
    """The codec of `POST /v1/responses`."""

    def joiner(self) -> ResponseJoiner:
        """Return a fresh reader."""
        return ResponseJoiner()

    def split(self, answer: Json, request: Json) -> bytes:
        """Stream a plain response."""
        events: list[Json] = response_events(personalise_response(answer, request))
        numbered: list[Json] = [{**event, "sequence_number": number} for number, event in enumerate(events)]
        return b"".join([named_event(event["type"], event) for event in numbered])

    def passes_all(self, _request: Json) -> bool:
        """Every stored stream repeats what its first caller sent, so none passes unread."""
        return False

    def for_client(self, event: SSEEvent, request: Json) -> bytes | None:
        """Repeat this caller's own metadata, and leave out padding."""
        padded = b'"obfuscation"' in event.data
        if not padded and event.event not in _LIFECYCLE:
            return event.raw
        try:
            payload: Any = decode_json(event.data)
        except UNREADABLE:
            return event.raw
        if not isinstance(payload, dict):
            return event.raw
        changed = {name: value for name, value in payload.items() if name != "obfuscation"}
        if isinstance(changed.get("response"), dict):
            changed["response"] = personalise_response(changed["response"], request)
        return event.raw if changed == payload else with_payload(event, changed)

    def replay(self, body: bytes, request: Json) -> bytes:
        """Return a whole stored stream with this caller's own metadata."""
        return b"".join([self.for_client(event, request) or b"" for event in parse_events(body)])

    def error_event(self, code: str, message: str) -> bytes:
        """Return the event that makes the SDKs raise; they look for `error` in the data."""
        error = {"type": "server_error", "code": code, "message": message, "param": None}
        return named_event("error", {"type": "error", "code": code, "message": message, "param": None, "error": error})


RESPONSE_STREAM = ResponseStream()
