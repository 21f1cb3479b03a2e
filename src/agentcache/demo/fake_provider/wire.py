"""HTTP/1.1 on a socket: requests in, replies out, nothing between. Built for many small answers per second."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

import httptools

REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 301: "Moved Permanently",
    302: "Found", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 413: "Content Too Large",
    422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 529: "Overloaded",
}  # fmt: skip


@dataclass(slots=True)
class Request:
    """One HTTP request. Header names are lower case; repeated headers are joined with a comma and also in `pairs`."""

    method: str
    target: str
    headers: dict[str, str]
    pairs: list[tuple[str, str]]
    body: bytes
    keep_alive: bool = True

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.split("?", 1)[0]

    @property
    def query(self) -> str:
        """What follows the question mark."""
        return self.target.partition("?")[2]


@dataclass(slots=True)
class Reply:
    """One HTTP answer: a whole body, or server-sent events that go out one by one."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    events: list[bytes] | None = None
    #: Index of the first event after which the stream has reached its terminal event (for `no_terminal`).
    terminal_at: int | None = None
    #: Wait so many seconds, then ask `late` for the reply that is really sent.
    delay: float = 0.0
    late: Callable[[], Reply] | None = None

    def head(self, *, framing: str = "") -> bytes:
        """Return the status line and headers; `framing` replaces Content-Length / Transfer-Encoding lines."""
        if not framing and self.events is not None:
            framing = "transfer-encoding: chunked\r\n"
        elif not framing and self.status != 204:
            framing = f"content-length: {len(self.body)}\r\n"
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return (
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}\r\n"
            f"content-type: {self.content_type}\r\n{framing}{extra}\r\n"
        ).encode("latin-1")

    def chunks(self) -> list[bytes]:
        """Return the body as the pieces in which it is sent."""
        return [self.body] if self.events is None else self.events


def chunk(piece: bytes) -> bytes:
    """Frame bytes as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def whole(reply: Reply) -> bytes:
    """Return the complete answer as it goes over the wire."""
    if reply.events is None:
        return reply.head() + reply.body
    return b"".join((reply.head(), *(chunk(event) for event in reply.events), b"0\r\n\r\n"))


class Service(Protocol):
    """Who answers what a connection has read."""

    def opened(self, connection: Connection) -> None:
        """Take note of a new connection."""

    def closed(self, connection: Connection) -> None:
        """Take note that it has gone."""

    def serve(self, connection: Connection, request: Request) -> asyncio.Task[None] | None:
        """Answer at once and return None, or return the task that is answering."""


class Connection(asyncio.Protocol):
    """One client connection; answers its requests in order."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._pairs: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport
        #: Done once the connection is gone.
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- what asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start reading."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop has its own class
        self._service.opened(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it cannot read gets a 400 and the door."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.transport.close()
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for the client to leave, and stop answering."""
        if not self.lost.done():
            self.lost.set_result(None)
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()
        self._waiting.clear()
        self._service.closed(self)

    def pause_writing(self) -> None:
        """Make `drain` wait."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- what the parser tells us

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._url, self._pairs, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header."""
        self._pairs.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Tell a client that asked first to go on."""
        if any(name == "expect" and value.lower() == "100-continue" for name, value in self._pairs):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, or queue it behind the one being answered."""
        headers: dict[str, str] = {}
        for name, value in self._pairs:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._url.decode("latin-1"),
            headers,
            self._pairs,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self._parser.should_keep_alive(),
        )
        if self._task is not None:
            self._waiting.append(request)
        else:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        self._task = self._service.serve(self, request)
        if self._task is not None:
            self._task.add_done_callback(lambda task: self._answered(task, request))
        elif not request.keep_alive:
            self.transport.close()

    def _answered(self, task: asyncio.Task[None], request: Request) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "fake provider failed", "exception": error})
            self.transport.abort()
        elif not request.keep_alive:
            self.transport.close()
        else:
            self._answer_waiting()

    def _answer_waiting(self) -> None:
        while self._waiting and self._task is None and not self.transport.is_closing():
            self._answer(self._waiting.popleft())

    # -- what answering needs

    async def send(self, piece: bytes) -> None:
        """Write, and wait while the client does not keep up. Raises `ConnectionResetError` when it has gone."""
        if self.lost.done():
            raise ConnectionResetError
        self.transport.write(piece)
        if self._writable is not None:
            await self._writable

    async def flushed(self) -> None:
        """Wait until the kernel has taken everything written so far."""
        while self.transport.get_write_buffer_size() and not self.lost.done():  # noqa: ASYNC110 - no callback for it
            await asyncio.sleep(0.001)

    async def reset(self) -> None:
        """Send what was written, then end the connection with RST instead of FIN."""
        await self.flushed()
        # Linger 0 makes the kernel drop the connection with RST; the duplicate works around
        # uvloop's socket object, which does not set options.
        raw = self.transport.get_extra_info("socket")
        with socket.fromfd(raw.fileno(), socket.AF_INET, socket.SOCK_STREAM) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
