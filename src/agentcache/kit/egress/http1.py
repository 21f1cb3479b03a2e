"""One HTTP/1.1 connection to somebody else's server: one exchange at a time, every wait with a deadline.

Bytes are read by llhttp in its strict mode (it refuses Content-Length beside Transfer-Encoding, bare line feeds, folded
headers, bad chunk sizes). What this class adds: bounds, deadlines, back pressure, and the rule that a connection is used
again only after an exchange that ended exactly where its message ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum
from select import POLLIN, poll
from typing import Final, cast

import httptools

HEAD_BYTES_MAX: Final = 64 * 1024
#: Beyond this much unread body the socket is left unread too.
_BUFFER_BYTES_MAX: Final = 256 * 1024
#: Copying a body behind its head is cheaper than a second packet up to about this size.
_JOINED_BODY_BYTES_MAX: Final = 64 * 1024


class Failure(Enum):
    """How an exchange failed."""

    CLOSED = "closed"  # before the first byte of an answer
    CUT = "cut"  # in the middle of an answer
    INVALID = "invalid"  # not HTTP, or more of it than we accept
    LATE = "late"  # a deadline passed


class ExchangeFailed(Exception):
    """An exchange cannot go on; the connection is closed."""

    def __init__(self, failure: Failure, detail: str) -> None:
        self.failure = failure
        self.detail = detail
        super().__init__(detail)


class Connection(asyncio.Protocol):
    """One transport. `start` sends a request and returns when the head of the answer is there, `read` gives the body."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._write_waiter: asyncio.Future[None] | None = None
        self._is_open = False
        self._reading_paused = False
        self._writing_paused = False
        self.exchanges = 0
        #: When the last exchange ended, in loop time.
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._in_exchange = False
        self._request_sent = False
        self._is_head_request = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._head_done = False
        self._body_done = False
        self._keep_alive = False
        self._until_close = False
        self._interim = False
        self._body: deque[bytes] = deque()
        self._buffered = 0
        self._head_bytes = 0
        #: Bytes that came since the last byte of body: endless heads, chunk extensions and trailers end here.
        self._overhead = 0
        self._answer_begun = False
        self._failure: ExchangeFailed | None = None

    # What callers use.

    @property
    def is_reusable(self) -> bool:
        """Say whether another exchange may begin: open, silent, and the last one ended where its message ended."""
        return (
            self._is_open and not self._in_exchange and self._transport is not None and not self._transport.is_closing()
        )

    def is_silent(self) -> bool:
        """Ask the system whether nothing lies unread in the socket, not even its end; the loop may not know yet."""
        if self._transport is None:
            return False
        poller = poll()
        poller.register(self._transport.get_extra_info("socket").fileno(), POLLIN)
        return not poller.poll(0)

    @property
    def peer_address(self) -> str:
        """The address at the other end of the socket."""
        peer = self._transport.get_extra_info("peername") if self._transport else None
        return str(peer[0]) if peer else ""

    async def start(self, head: bytes, body: bytes | AsyncIterator[bytes], chunked: bool, deadline: float) -> None:
        """Send a request and wait for the head of its answer; then `status` and `headers` are set.

        `deadline` is in loop time. On any error, and when cancelled, the connection is closed.
        """
        if not self.is_reusable:
            raise ExchangeFailed(Failure.CLOSED, "the connection was closed")
        self._reset()
        self._in_exchange = True
        self._is_head_request = head.startswith(b"HEAD ")
        self.exchanges += 1
        try:
            if isinstance(body, bytes):
                if len(body) <= _JOINED_BODY_BYTES_MAX:
                    self._write(head + body)
                else:
                    self._write(head)
                    self._write(body)
                self._request_sent = True
            else:
                self._write(head)
                async with asyncio.timeout_at(deadline):
                    self._request_sent = await self._send_pieces(body, chunked)
            while not self._head_done:
                await self._wait(deadline)
        except TimeoutError:
            self.close()
            raise ExchangeFailed(Failure.LATE, "the request could not be sent in time") from None
        except BaseException:
            self.close()
            raise

    async def read(self, deadline: float) -> bytes:
        """Return what has come of the body, waiting for at least one byte; empty at its end."""
        try:
            while not self._body and not self._body_done:
                await self._wait(deadline)
            if not self._body_done and deadline <= self._loop.time():
                # Of an endless answer there is always more, so nobody ever waits.
                raise ExchangeFailed(Failure.LATE, "the deadline passed")
        except BaseException:
            self.close()
            raise
        if self._body:
            piece = self._body.popleft() if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            self._buffered = 0
            if self._reading_paused and self._transport is not None:
                self._reading_paused = False
                self._transport.resume_reading()
            return piece
        self._finish()
        return b""

    def close(self) -> None:
        """Drop the connection now, without waiting for the other side."""
        self._is_open = False
        # An answer that is forgotten until the interpreter ends is closed after its loop.
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()

    # Sending.

    def _write(self, piece: bytes) -> None:
        if not self._is_open or self._transport is None:
            raise self._failure or ExchangeFailed(Failure.CLOSED, "the connection was closed")
        self._transport.write(piece)

    async def _send_pieces(self, body: AsyncIterator[bytes], chunked: bool) -> bool:
        """Send a body piece by piece; return False when an answer came before its end."""
        async for piece in body:
            if self._head_done:
                return False
            if piece:
                self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            while self._writing_paused and self._is_open:
                self._write_waiter = self._loop.create_future()
                await self._write_waiter
        if chunked:
            self._write(b"0\r\n\r\n")
        return True

    # Waiting.

    async def _wait(self, deadline: float) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._expire)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        self._fail(Failure.LATE, "the deadline passed")

    def _fail(self, failure: Failure, detail: str) -> None:
        if self._failure is None and not self._body_done:
            self._failure = ExchangeFailed(failure, detail)
        self.close()
        self._wake()

    def _finish(self) -> None:
        reusable = self._keep_alive and self._request_sent and not self._writing_paused and self._is_open
        if self._in_exchange and reusable:
            self._in_exchange = False
            self.idle_since = self._loop.time()
        else:
            self.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # uvloop's transports do not inherit asyncio's, but are alike.
        self._transport = cast("asyncio.Transport", transport)
        self._is_open = True

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        if not self._in_exchange or self._body_done:
            # Nothing was asked: an answer to nobody must never become the next caller's.
            self._keep_alive = False
            self.close()
            return
        self._answer_begun = True
        before = self._buffered
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            self._keep_alive = False
            self._fail(Failure.INVALID, f"the answer is not valid HTTP ({_one_line(wrong)})")
            return
        self._overhead = 0 if self._buffered > before else self._overhead + len(data)
        if self._overhead > HEAD_BYTES_MAX:
            self._fail(Failure.INVALID, f"more than {HEAD_BYTES_MAX} bytes came without any of the answer's body")
            return
        if self._buffered > _BUFFER_BYTES_MAX and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        if self._head_done:
            self._wake()

    def eof_received(self) -> None:
        """The other side is done sending; the transport closes itself after this."""
        self._end_of_stream("the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if exc is None:
            self._end_of_stream("the connection was closed")
        else:
            self._until_close = False  # a reset is never the proper end of a body
            self._end_of_stream(f"the connection was lost ({_one_line(exc)})")
        self._is_open = False
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)

    def pause_writing(self) -> None:
        """The other side takes less than we send."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Sending may go on."""
        self._writing_paused = False
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)

    def _end_of_stream(self, detail: str) -> None:
        if self._until_close and self._head_done and not self._body_done and self._failure is None:
            self._body_done = True
            self._wake()
        elif self._in_exchange and not self._body_done:
            self._fail(Failure.CUT if self._answer_begun else Failure.CLOSED, detail)
        self._is_open = False

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Another message begins; after a whole answer that is one too many."""
        if self._body_done:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the head; those after the body (trailers) are dropped."""
        if not self._head_done:
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > HEAD_BYTES_MAX:
                raise ValueError(f"the head is larger than {HEAD_BYTES_MAX} bytes")
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there; 1xx heads announce another one."""
        if self._body_done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim = True
            self.headers.clear()
            return
        self.status = status
        self._keep_alive = bool(self._parser.should_keep_alive())
        self._head_done = True
        if self._is_head_request:
            # The parser cannot be told that no body follows, so such a connection serves once.
            self._keep_alive, self._body_done = False, True
        else:
            self._until_close = not any(
                name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked"))
                for name, value in self.headers
            )

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        if not self._body_done:
            self._body.append(piece)
            self._buffered += len(piece)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        if self._interim:
            self._interim = False
        else:
            self._body_done = True


def _one_line(wrong: Exception) -> str:
    context = wrong.__context__ if isinstance(wrong, httptools.HttpParserCallbackError) else None
    return str(context or wrong).replace("\n", " ")[:120].lower() or type(wrong).__name__
