"""A server that sends exactly the bytes a test wants, on a real loopback socket."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Visit:
    """One connection: read requests from it, write bytes to it."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """Read one whole request (by Content-Length or chunks) and return its bytes; empty at the end."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        body = b""
        if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
            body = await self.reader.readexactly(int(length[1]))
        elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            while not body.endswith(b"0\r\n\r\n"):
                body += await self.reader.readuntil(b"\r\n")
        self.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        """Write bytes and wait until the system has taken them."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        """Wait until the other side hangs up."""
        while await self.reader.read(65536):
            pass


@dataclass
class RawServer:
    """Where it listens and what came to it."""

    port: int
    visits: list[Visit] = field(default_factory=list)
    open_now: int = 0
    nobody: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        """All requests in the order of their connections."""
        return [request for visit in self.visits for request in visit.requests]

    async def until_all_gone(self) -> None:
        """Wait until no connection is open."""
        await self.nobody.wait()


@asynccontextmanager
async def serving(
    answer: Callable[[Visit], Awaitable[None]], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Serve each connection with `answer`; a connection ends when it returns."""
    running: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.open_now += 1
        server.nobody.clear()
        this = Visit(len(server.visits), reader, writer)
        server.visits.append(this)
        try:
            await answer(this)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            running.discard(task)
            server.open_now -= 1
            if not server.open_now:
                server.nobody.set()
            writer.close()

    listener = await asyncio.start_server(visit, host, 0, ssl=tls)
    server = RawServer(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)


def plain(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole well-formed answer."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def always(data: bytes) -> Callable[[Visit], Awaitable[None]]:
    """Answer every request with the same bytes and keep the connection."""

    async def answer(visit: Visit) -> None:
        while await visit.request():
            await visit.send(data)

    return answer


def once(data: bytes) -> Callable[[Visit], Awaitable[None]]:
    """Answer one request with these bytes, then close."""

    async def answer(visit: Visit) -> None:
        await visit.request()
        await visit.send(data)

    return answer


def once_then_wait(data: bytes) -> Callable[[Visit], Awaitable[None]]:
    """Answer one request with these bytes, then keep silent until the other side hangs up."""

    async def answer(visit: Visit) -> None:
        await visit.request()
        await visit.send(data)
        await visit.until_gone()

    return answer
