"""Server-sent events: bytes in, events out, and every byte accounted for (WHATWG HTML, 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from agentcache.kit.errors import UpstreamInvalid
from agentcache.providers.dialect import SSEEvent

#: As large as an entry may be by default: a larger event could not be kept, only fill the memory.
EVENT_BYTES_MAX = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# Atomic groups: a CRLF must never be read as a CR and an LF, that would be a blank line.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BLANK_LINE_BYTES_MAX = 4

_encode = msgspec.json.Encoder().encode


class SSEEventTooLarge(UpstreamInvalid):
    """The provider sent a stream event larger than this server accepts."""

    code = "upstream_event_too_large"


class SSEParser:
    """Cuts a byte stream into events, however the bytes are split into chunks.

    The `raw` members of the events, in order, and then `tail()` are exactly the bytes fed. Comments and stray blank
    lines come as events, or parts of events, without data.
    """

    __slots__ = ("_event_bytes_max", "_has_cr", "_pending", "_scanned", "_started")

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._pending = bytearray()
        #: No blank line begins before this offset of `_pending`.
        self._scanned = 0
        self._has_cr = False
        self._started = False
        self._event_bytes_max = event_bytes_max

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Return the events that `chunk` completes. Raises `SSEEventTooLarge`."""
        if not self._has_cr and b"\r" in chunk:
            self._has_cr = True
        buffer: bytes | bytearray = chunk
        if self._pending:
            # In place: an event of megabytes comes in thousands of chunks.
            self._pending += chunk
            buffer = self._pending
        events: list[SSEEvent] = []
        start = 0
        end = self._find_end(buffer, self._scanned)
        while end >= 0:
            if end - start > self._event_bytes_max:
                raise SSEEventTooLarge
            events.append(self._read(bytes(buffer[start:end])))
            start = end
            end = self._find_end(buffer, start)
        if buffer is self._pending:
            del self._pending[:start]
        else:
            self._pending += buffer[start:]
        if len(self._pending) > self._event_bytes_max:
            raise SSEEventTooLarge
        self._scanned = max(0, len(self._pending) - _BLANK_LINE_BYTES_MAX)
        return events

    def tail(self) -> bytes:
        """Return the bytes of an event that has begun and not ended; empty after a clean end."""
        return bytes(self._pending)

    def _find_end(self, buffer: bytes | bytearray, scan: int) -> int:
        if not self._has_cr:
            found = buffer.find(b"\n\n", scan)
            return found + 2 if found >= 0 else -1
        match = _BLANK_LINE.search(buffer, self._line_end_start(buffer, scan))
        if match is None:
            return -1
        blank = match.group()
        # A last CR may be the first half of a CRLF, unless the stream ends its lines with lone CRs.
        if match.end() == len(buffer) and blank.endswith(b"\r") and blank != b"\r\r":
            return -1
        return match.end()

    @staticmethod
    def _line_end_start(buffer: bytes | bytearray, scan: int) -> int:
        """Move back from between the two bytes of a CRLF."""
        return scan - 1 if 0 < scan < len(buffer) and buffer[scan] == 0x0A and buffer[scan - 1] == 0x0D else scan

    def _read(self, raw: bytes) -> SSEEvent:
        if self._started:
            return read_event(raw)
        self._started = True
        return SSEEvent(raw, *_fields(raw.removeprefix(_BOM)))


def read_event(raw: bytes) -> SSEEvent:
    """Read one event from its bytes, closing blank line included."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return SSEEvent(raw, "", raw[6:-2])
    return SSEEvent(raw, *_fields(raw))


def _fields(block: bytes) -> tuple[str, bytes]:
    name = b""
    lines: list[bytes] = []
    for line in block.splitlines():
        member, _, value = line.partition(b":")
        if member == b"data":
            lines.append(value.removeprefix(b" "))
        elif member == b"event":
            name = value.removeprefix(b" ")
    return name.decode("utf-8", "replace"), b"\n".join(lines)


def parse_events(body: bytes) -> list[SSEEvent]:
    """Cut a whole stored stream into events; an unfinished one at the end is left out."""
    return SSEParser(event_bytes_max=max(len(body), 1)).feed(body)


def data_event(payload: Any) -> bytes:
    """Return an unnamed event that carries `payload` as JSON."""
    return b"data: " + _encode(payload) + b"\n\n"


def named_event(name: str, payload: Any) -> bytes:
    """Return an event with both an `event:` and a `data:` line."""
    return b"event: " + name.encode() + b"\ndata: " + _encode(payload) + b"\n\n"


def with_payload(event: SSEEvent, payload: Any) -> bytes:
    """Return the event with other JSON in place of its data, its remaining lines kept."""
    kept = [line for line in event.raw.removeprefix(_BOM).splitlines() if line and line.partition(b":")[0] != b"data"]
    return b"\n".join([*kept, b"data: " + _encode(payload)]) + b"\n\n"


def join_raw(events: Iterable[SSEEvent]) -> bytes:
    """Return the bytes of the events in order."""
    return b"".join(event.raw for event in events)
