"""The door to providers: pooled connections to base URLs that only the operator can set."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from agentcache.kit.egress.connecting import open_connection, resolve, tls_context
from agentcache.kit.egress.http1 import Connection, ExchangeFailed, Failure
from agentcache.kit.egress.target import Headers, Target, parse_target, request_head
from agentcache.kit.errors import AgentCacheError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable

#: Shorter than what most servers allow, so that it is us who hang up (uvicorn's 5 s are seen as end of file at once).
KEEPALIVE_SECONDS: Final = 30.0
#: Safe to send twice (RFC 9110, 9.2.2), so a connection that the server closed while idle may be replaced silently.
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """Deadlines of one request, in seconds."""

    connect: float = 5.0
    #: From sending until the head of the answer is there.
    first_byte: float = 600.0
    #: Between two pieces of the body.
    idle: float = 60.0
    total: float = 1800.0


class UpstreamResponse:
    """An answer whose head has come. Read `chunks` to the end or call `aclose`; both give the connection back."""

    __slots__ = ("_connection", "_ends_at", "_give_back", "_host", "_idle_seconds", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        give_back: Callable[[Connection], None],
        host: str,
        idle_seconds: float,
        ends_at: float,
    ) -> None:
        self._give_back = give_back
        self._connection: Connection | None = connection
        self._host = host
        self._idle_seconds = idle_seconds
        self._ends_at = ends_at
        self.status = connection.status
        #: Names in lower case, in the order they came.
        self.headers = connection.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it comes; raises `UpstreamTimeout` and `UpstreamInvalid`."""
        return self

    def __aiter__(self) -> UpstreamResponse:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        try:
            piece = await connection.read(min(asyncio.get_running_loop().time() + self._idle_seconds, self._ends_at))
        except BaseException as wrong:
            self._release()
            if isinstance(wrong, ExchangeFailed):
                raise _as_upstream_error(wrong, self._host, "stopped sending") from None
            raise
        if not piece:
            self._release()
            raise StopAsyncIteration
        return piece

    async def aread(self) -> bytes:
        """Return the rest of the body in one piece."""
        return b"".join([piece async for piece in self.chunks()])

    async def aclose(self) -> None:
        """Give the connection back; one with an unread rest is closed. May be called more than once."""
        self._release()

    def __del__(self) -> None:
        """Give back what was dropped unread; without this a forgotten answer would hold its permit for ever."""
        self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._give_back(connection)


class UpstreamClient:
    """Sends requests over kept connections. One per event loop; safe under cancellation at every await.

    Follows no redirect, keeps no cookie, reads no proxy variable, decompresses nothing.
    """

    def __init__(self, max_connections: int = 1000, tls: ssl.SSLContext | None = None) -> None:
        self._max_connections = max_connections
        self._permits = asyncio.Semaphore(max_connections)
        self._tls = tls
        self._idle: dict[tuple[bool, str, int], list[Connection]] = {}
        self._idle_count = 0
        self._opening = 0
        self._in_use: dict[Connection, tuple[bool, str, int]] = {}
        self._is_closed = False

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are in use and how many are idle."""
        return len(self._in_use), self._idle_count

    async def send(
        self,
        method: str,
        url: bytes | str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        timeouts: UpstreamTimeouts,
    ) -> UpstreamResponse:
        """Send a request and return when the head of the answer has come.

        A body that is an iterator is sent in chunks. Raises `UpstreamUnreachable`, `UpstreamTimeout`,
        `UpstreamInvalid`, and `BadRequest` for a URL or a header that cannot be sent.
        """
        target = parse_target(url if isinstance(url, str) else url.decode("latin-1"))
        chunked = not isinstance(body, bytes)
        head = request_head(method, target, headers, _framing(method, body))
        ends_at = asyncio.get_running_loop().time() + timeouts.total
        while True:
            connection = await self._take(target, timeouts.connect, ends_at)
            was_kept = connection.exchanges > 0
            now = asyncio.get_running_loop().time()
            try:
                await connection.start(head, body, chunked, min(now + timeouts.first_byte, ends_at))
            except ExchangeFailed as wrong:
                self._give_back(connection)
                if was_kept and wrong.failure is Failure.CLOSED and method in _REPEATABLE and not chunked:
                    continue
                raise _as_upstream_error(wrong, target.host, "did not answer") from None
            except BaseException:
                self._give_back(connection)
                raise
            return UpstreamResponse(connection, self._give_back, target.host, timeouts.idle, ends_at)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        self._is_closed = True
        for connection in [*self._in_use, *(kept for stack in self._idle.values() for kept in stack)]:
            connection.close()
        self._idle.clear()
        self._idle_count = 0

    async def _take(self, target: Target, connect_seconds: float, ends_at: float) -> Connection:
        """Return a connection of our own, kept or fresh; a permit goes with it until `_give_back`."""
        loop = asyncio.get_running_loop()
        deadline = min(loop.time() + connect_seconds, ends_at)
        if self._permits.locked():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._permits.acquire()
            except TimeoutError:
                raise UpstreamTimeout(
                    f"All {self._max_connections} connections to providers are busy. "
                    "Try again, or raise AGENTCACHE_UPSTREAM_MAX_CONNECTIONS."
                ) from None
        else:
            await self._permits.acquire()
        try:
            connection = self._take_idle(target.origin) or await self._connect(target, deadline)
        except BaseException:
            self._permits.release()
            raise
        self._in_use[connection] = target.origin
        return connection

    def _take_idle(self, origin: tuple[bool, str, int]) -> Connection | None:
        stack = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_SECONDS
        while stack:
            connection = stack.pop()
            self._idle_count -= 1
            if connection.is_reusable and connection.idle_since > oldest and connection.is_silent():
                return connection
            connection.close()
        return None

    async def _connect(self, target: Target, deadline: float) -> Connection:
        if self._is_closed:
            raise UpstreamUnreachable("This server is shutting down.")
        # Those still being opened count, or several at once would each find room for one.
        if len(self._in_use) + self._idle_count + self._opening >= self._max_connections:
            self._close_oldest_idle()
        if target.is_tls and self._tls is None:
            self._tls = tls_context()
        self._opening += 1
        try:
            async with asyncio.timeout_at(deadline):
                endpoints = await resolve(target.host, target.port)
                return await open_connection(endpoints, self._tls if target.is_tls else None, target.host)
        except TimeoutError:
            raise UpstreamTimeout(f"The provider at {target.host} could not be connected to in time.") from None
        except OSError as wrong:
            raise UpstreamUnreachable(
                f"The provider at {target.host} could not be reached: {_reason(wrong)}."
            ) from None
        finally:
            self._opening -= 1

    def _give_back(self, connection: Connection) -> None:
        """End the use of a connection: keep it when it is clean, else close it."""
        origin = self._in_use.pop(connection, None)
        if origin is None:
            return
        self._permits.release()
        if connection.is_reusable and not self._is_closed:
            stack = self._idle.setdefault(origin, [])
            # The oldest lie at the bottom; without this a burst would keep its sockets for ever.
            oldest = connection.idle_since - KEEPALIVE_SECONDS
            while stack and (stack[0].idle_since <= oldest or not stack[0].is_reusable):
                stack.pop(0).close()
                self._idle_count -= 1
            stack.append(connection)
            self._idle_count += 1
        else:
            connection.close()

    def _close_oldest_idle(self) -> None:
        stack = min((stack for stack in self._idle.values() if stack), key=lambda s: s[0].idle_since, default=None)
        if stack:
            stack.pop(0).close()
            self._idle_count -= 1


def _framing(method: str, body: bytes | AsyncIterator[bytes]) -> bytes:
    if not isinstance(body, bytes):
        return b"transfer-encoding: chunked\r\n"
    if body or method in {"POST", "PUT", "PATCH"}:
        return b"content-length: %d\r\n" % len(body)
    return b""


def _reason(wrong: OSError) -> str:
    text: str | None
    if isinstance(wrong, ssl.SSLError):
        text = wrong.reason
    elif isinstance(wrong, socket.gaierror) or wrong.errno is None:
        text = wrong.strerror
    else:
        text = os.strerror(wrong.errno)
    return (text or type(wrong).__name__).replace("_", " ").lower()


def _as_upstream_error(wrong: ExchangeFailed, host: str, late: str) -> AgentCacheError:
    if wrong.failure is Failure.LATE:
        return UpstreamTimeout(f"The provider at {host} {late} in time.")
    if wrong.failure is Failure.CLOSED:
        return UpstreamUnreachable(f"The provider at {host} closed the connection without an answer.")
    if wrong.failure is Failure.CUT:
        return UpstreamInvalid(f"The provider at {host} cut its answer short: {wrong.detail}.")
    return UpstreamInvalid(f"The provider at {host} sent an answer that cannot be read: {wrong.detail}.")
