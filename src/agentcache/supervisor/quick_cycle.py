"""One answer over HTTP/1.1: uvicorn's, with the usual answer put together at a third of the cost.

uvicorn looks through every name and every value with a pattern of its own, and makes each name anew for each answer.
Here names are known after their first use, and the values are looked through together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NAMES_MAX: Final = 1024
#: A larger body is not copied to save a system call.
_JOINED_BYTES_MAX: Final = 64 * 1024
#: A token (RFC 9110, 5.6.2).
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Control characters that no value may hold (RFC 9110, 5.5); the tab may stand in one.
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
#: Headers that uvicorn itself has to understand, besides the length.
_FRAMING: Final = frozenset({b"transfer-encoding", b"connection"})
#: What stands for the lower case of a name that is none, so that uvicorn refuses it.
_NOT_FOR_US: Final = b"connection"


class _Names(dict[bytes, tuple[bytes, bytes]]):
    """A header's name as it was given -> in lower case, and as it begins its line."""

    def __missing__(self, name: bytes) -> tuple[bytes, bytes]:
        if _NAME.fullmatch(name) is None:
            return _NOT_FOR_US, b""
        known = name.lower(), b"\r\n" + name.lower() + b": "
        if len(self) < _NAMES_MAX:
            self[name] = known
        return known


_names: Final = _Names()
_STATUS: Final = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}


def head_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the lines of headers, each beginning with its line break; raise `ValueError` for what is no header."""
    pieces: list[bytes] = []
    for name, value in headers:
        lowered, begin = _names[name]
        if lowered in _FRAMING or _FORBIDDEN.search(value) is not None:
            raise ValueError(f"{name!r} cannot be a header here")
        pieces += (begin, value)
    return b"".join(pieces)


def status_line(status: int) -> bytes:
    """Return the status line without its line break."""
    return _STATUS[status]


class QuickCycle(RequestResponseCycle):
    """Answers one request. Takes over answers of known length in one piece; everything else is uvicorn's.

    Their head waits for the body, as ASGI allows a server to: both leave in one system call.
    """

    #: A head that is still to be written.
    _head = b""

    def send(self, message: Any) -> Any:
        """Send a part of the answer; to be awaited. Raises `RuntimeError` for what is not ASGI or not HTTP."""
        if self.disconnected or self.flow.write_paused or not self.keep_alive or self.access_log:
            return self._send_usually(message)
        if not self.response_started:
            if message["type"] == "http.response.start" and self._start(message["status"], message.get("headers", ())):
                return _NOTHING
        elif (
            not self.response_complete
            and not self.chunked_encoding
            and not message.get("more_body", False)
            and self.scope["method"] != "HEAD"
        ):
            body = message.get("body", b"")
            if len(body) == self.expected_content_length and message["type"] == "http.response.body":
                self._finish(body)
                return _NOTHING
        return self._send_usually(message)

    def _send_usually(self, message: Any) -> Any:
        if self._head:
            head, self._head = self._head, b""
            if not self.disconnected:
                self.transport.write(head)
        return super().send(message)

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Write the head of an answer of known length; False, having done nothing, when it is not that simple."""
        pieces = [_STATUS[status]]
        length = None
        for name, value in self.default_headers:
            pieces += (_names[name][1], value)
        for name, value in headers:
            lowered, begin = _names[name]
            if lowered == b"content-length":
                length = value
            elif lowered in _FRAMING:
                return False
            pieces += (begin, value)
        if length is None or not length.isdigit():
            return False
        if _FORBIDDEN.search(b"".join([value for _, value in headers])) is not None:
            return False
        self.response_started = True
        self.waiting_for_100_continue = False
        self.expected_content_length = int(length)
        self.chunked_encoding = False
        pieces.append(b"\r\n\r\n")
        self._head = b"".join(pieces)
        return True

    def _finish(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if len(body) <= _JOINED_BYTES_MAX:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        self.on_response()


class _Nothing:
    """Awaited, it is done at once, without a coroutine."""

    def __await__(self) -> Any:
        return iter(())


_NOTHING: Final = _Nothing()


def install() -> None:
    """Have uvicorn use it: the class has no parameter of its own in uvicorn's configuration."""
    httptools_impl.RequestResponseCycle = QuickCycle  # type: ignore[misc]
