"""Streams of chunks with `choices`, ended by `[DONE]`: the frame that chat and text completions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agentcache.providers.dialect import Json, SSEEvent, Verdict
from agentcache.providers.reading import UNREADABLE, decode_json, items, members
from agentcache.providers.sse import data_event, parse_events, with_payload

_DONE = b"data: [DONE]\n\n"
_NO_USAGE = b',"usage":null'
#: Members of the first chunk that speak for the whole stream.
_FIRST_COUNTS = frozenset({"id", "created", "model"})
#: Chunk members that the plain answer does not take over as they are.
_NOT_HEAD = frozenset({"choices", "object", "usage", "obfuscation"})


class MergedChoices(Protocol):
    """How the choices of one kind of stream grow."""

    def add_choice(self, into: Json, choice: Json) -> None:
        """Merge a chunk's choice into what came before; raise `ValueError` where it does not fit."""

    def finished_choice(self, choice: Json) -> Json:
        """Return the choice as a plain answer has it."""


def wants_usage(request: Json) -> bool:
    """Say whether the caller asked for the usage chunk."""
    return members(request.get("stream_options")).get("include_usage") is True


class ChunkJoiner:
    """Joins one stream of chunks."""

    def __init__(self, codec: ChunkStream) -> None:
        self.finished = False
        self._codec = codec
        self._reason = ""
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._usage: object = None

    def add(self, event: SSEEvent) -> None:
        """Take the next event."""
        data = event.data
        if not data:
            return
        if data.startswith(b"[DONE]"):
            self.finished = True
            return
        if self._reason:
            return
        if self.finished:
            self._reason = "malformed"
            return
        try:
            chunk = decode_json(data)
        except UNREADABLE:
            self._reason = "malformed"
            return
        if not isinstance(chunk, dict):
            self._reason = "malformed"
        elif chunk.get("error") or event.event == "error":
            self._reason = "error_event"
            self.finished = True
        else:
            try:
                self._merge(chunk)
            except UNREADABLE:
                self._reason = "malformed"

    def _merge(self, chunk: Json) -> None:
        for name, value in chunk.items():
            if name in _NOT_HEAD or (name in _FIRST_COUNTS and name in self._head):
                continue
            if value is not None or name not in self._head:
                self._head[name] = value
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        choices = chunk.get("choices", [])
        if not isinstance(choices, list):
            raise ValueError("choices is not a list")
        for choice in choices:
            if not isinstance(choice, dict):
                raise ValueError("a choice is not an object")
            index = choice.get("index", 0)
            if not isinstance(index, int):
                raise ValueError("a choice has no index")
            into = self._choices.setdefault(index, {"index": index})
            self._codec.choices.add_choice(into, choice)

    def verdict(self) -> Verdict:
        """Judge what came so far."""
        if self._reason:
            return Verdict(False, self._reason)
        if not self.finished:
            return Verdict(False, "no_terminal_event")
        return self._codec.judge(self.answer())

    def answer(self) -> Json:
        """Return the plain answer."""
        head = self._head
        finish = self._codec.choices.finished_choice
        plain: Json = {"id": head.get("id"), "object": self._codec.plain_object}
        plain.update({name: value for name, value in head.items() if name != "id"})
        plain["choices"] = [finish(self._choices[index]) for index in sorted(self._choices)]
        if self._usage is not None:
            plain["usage"] = self._usage
        return plain


@dataclass(frozen=True, slots=True)
class ChunkStream:
    """The codec of one kind of chunk stream."""

    plain_object: str
    chunk_object: str
    choices: MergedChoices
    judge: Callable[[Json], Verdict]
    #: One choice of a plain answer -> the chunk choices that stream it.
    split_choice: Callable[[Json], list[Json]]
    #: True when usage is sent only if `stream_options.include_usage` is set; False when it always comes.
    usage_on_request: bool = True

    def joiner(self) -> ChunkJoiner:
        """Return a fresh reader."""
        return ChunkJoiner(self)

    def split(self, answer: Json, request: Json) -> bytes:
        """Stream a plain answer: each choice in turn, then usage if it was asked for, then `[DONE]`."""
        head = {**answer, "object": self.chunk_object}
        usage = head.pop("usage", None)
        choices = [c for c in items(head.pop("choices", None)) if isinstance(c, dict)]
        asked = wants_usage(request)
        parts = [part for choice in choices for part in self.split_choice(choice)]
        tail: Json = {"usage": None} if asked else {}
        chunks = [{**head, "choices": [part], **tail} for part in parts]
        if usage is not None and asked:
            chunks.append({**head, "choices": [], "usage": usage})
        elif usage is not None and chunks and not self.usage_on_request:
            chunks[-1]["usage"] = usage
        return b"".join([data_event(chunk) for chunk in chunks]) + _DONE

    def passes_all(self, request: Json) -> bool:
        """Say whether this caller asked for all that is stored; `prepare` keeps padding out of it."""
        return wants_usage(request)

    def for_client(self, event: SSEEvent, request: Json) -> bytes | None:
        """Leave out the usage that only we asked for, and padding."""
        data = event.data
        padded = b'"obfuscation"' in data
        metered = b'"usage"' in data and not wants_usage(request)
        if not padded and not metered:
            return event.raw
        if not padded and data.endswith(_NO_USAGE + b"}"):
            return event.raw.replace(_NO_USAGE, b"")
        try:
            chunk = decode_json(data)
        except UNREADABLE:
            return event.raw
        if not isinstance(chunk, dict):
            return event.raw
        return self._trimmed(event, chunk, metered)

    def _trimmed(self, event: SSEEvent, chunk: Json, metered: bool) -> bytes | None:
        before = len(chunk)
        chunk.pop("obfuscation", None)
        if metered and "usage" in chunk:
            if chunk["usage"] is not None and not chunk.get("choices"):
                return None
            if self.usage_on_request or chunk["usage"] is None:
                del chunk["usage"]
        return event.raw if len(chunk) == before else with_payload(event, chunk)

    def replay(self, body: bytes, request: Json) -> bytes:
        """Return a whole stored stream as `request` should see it: `for_client` over all its events."""
        if self.passes_all(request):
            return body
        trimmed = body.replace(_NO_USAGE, b"")
        if b'"obfuscation"' in trimmed or b"\r" in trimmed or trimmed.count(b'"usage"') > 1:
            return b"".join([self.for_client(event, request) or b"" for event in parse_events(body)])
        at = trimmed.find(b'"usage"')
        if at < 0:
            return trimmed
        start = trimmed.rfind(b"\n\n", 0, at) + 2 if b"\n\n" in trimmed[:at] else 0
        end = trimmed.find(b"\n\n", at) + 2
        kept = b"".join([self.for_client(event, request) or b"" for event in parse_events(trimmed[start:end])])
        return trimmed[:start] + kept + trimmed[end:]

    def error_event(self, code: str, message: str) -> bytes:
        """Return the chunk that makes the SDKs raise."""
        return data_event({"error": {"message": message, "type": "agentcache_error", "param": None, "code": code}})
