"""HTTP/1.1 for callers we do not know: uvicorn's protocol, with bounds on what it takes and on how long it waits.

uvicorn keeps whatever head a caller sends and waits for the rest of a request for ever. What this class adds costs the
ordinary request, which comes in one piece, a few comparisons: timers run only while something is missing.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from agentcache.gateway.app import URL_BYTES_MAX, URLTooLong
from agentcache.gateway.callers import HEADER_BYTES_MAX, HEADER_COUNT_MAX, HeadersTooLarge
from agentcache.gateway.problems import problem
from agentcache.kit.errors import AgentCacheError, BadRequest
from agentcache.kit.ids import new_id
from agentcache.supervisor.open_connections import OpenConnections

#: A whole head has to come within this time.
HEAD_SECONDS: Final = 10.0
#: A body has this time, and one second more for each `BODY_BYTES_PER_SECOND` that did come.
BODY_SECONDS: Final = 30.0
BODY_BYTES_PER_SECOND: Final = 64 * 1024
#: A caller that takes nothing of its answer for so long is gone.
WRITE_STALL_SECONDS: Final = 30.0
#: How long the rest of a request is read and dropped after its answer, so that the caller gets to read the answer.
LINGER_SECONDS: Final = 2.0
#: When the server ends, how long an idle connection may still bring a request that was sent before its caller could know.
LEAVE_SECONDS: Final = 1.0


class RequestTimeout(AgentCacheError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408


class InvalidHTTP(BadRequest):
    """The request is not valid HTTP/1.1."""

    code = "invalid_http"


class Phase(Enum):
    """What a connection is in the middle of."""

    IDLE = "idle"  # between requests, or a whole request has come
    HEAD = "head"
    BODY = "body"


class BoundedHTTP(HttpToolsProtocol):
    """One connection of a caller. What exceeds a bound is refused with 414, 431, 408 or 400, and the connection ends."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._phase = Phase.IDLE
        #: At least as many bytes as the head that is being read has so far; without those that came in one piece with
        #: the end of the body before it, where it has such.
        self._head_bytes = 0
        self._head_began_behind_body = False
        self._refusal: AgentCacheError | None = None
        self._discarding = False
        #: Set when the server ends: the next answer on this connection is its last.
        self._is_leaving = False
        #: What the timer of receiving waits for, and since when; meanwhile so many bytes of body came.
        self._awaited = Phase.IDLE
        self._since = 0.0
        self._body_bytes = 0
        #: Bytes that came since the last byte of body: endless chunk extensions and trailers end here.
        self._overhead = 0
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        #: Put there by `server.configure`; None where connections are not counted.
        self._connections: OpenConnections | None = getattr(self.config, "open_connections", None)
        self._counted_as: str | None = ""

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever; take no more connections of one address than is allowed."""
        super().connection_made(transport)
        if self._connections is not None:
            peer = transport.get_extra_info("peername")
            self._counted_as = self._connections.open(peer[0]) if isinstance(peer, tuple) else ""
            if self._counted_as is None:
                self._discarding = True
                transport.abort()
                return
        self._await(Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every timer."""
        if self._connections is not None and self._counted_as:
            self._connections.close(self._counted_as)
        self._stop_waiting()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it goes beyond a bound."""
        if self._discarding:
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        before = self._phase
        self._head_bytes = self._head_bytes + len(data) if before is Phase.HEAD else len(data)
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing here speaks anything else, and a server may ignore the wish (RFC 9110, 7.8)
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidHTTP())
            return
        if before is Phase.BODY and self._phase is Phase.HEAD:
            # How much of the piece was body is not known, and it is not the head's fault.
            self._head_bytes = 0
            self._head_began_behind_body = True
        if self._phase is not Phase.IDLE:
            self._while_incomplete(len(data))
        elif self._served() is None:
            self._while_silent(before)
        elif self._timer is not None:
            self._stop_waiting()

    def pause_writing(self) -> None:
        """Watch a caller that takes its answer more slowly than it comes."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(WRITE_STALL_SECONDS, self._check_progress)

    def resume_writing(self) -> None:
        """The caller keeps up again."""
        self._stop_write_timer()
        super().resume_writing()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A head begins."""
        self._phase = Phase.HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Serve the request if its head is within bounds."""
        # One more for the question mark; the application judges the rest, in the caller's dialect.
        if len(self.url) > URL_BYTES_MAX + 1:
            self._raise(URLTooLong())
        if len(self.headers) > HEADER_COUNT_MAX or (
            (self._head_bytes > HEADER_BYTES_MAX or self._head_began_behind_body)
            and sum(len(name) + len(value) for name, value in self.headers) > HEADER_BYTES_MAX
        ):
            self._raise(HeadersTooLarge())
        self._head_began_behind_body = False
        self._phase = Phase.BODY
        self._overhead = 0
        super().on_headers_complete()
        if self._is_leaving:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._phase = Phase.IDLE
        super().on_message_complete()

    # What the answer's end brings.

    def on_response_complete(self) -> None:
        """Serve the next request; the rest of this one gets a moment to come, and is dropped."""
        super().on_response_complete()
        if self._phase is Phase.BODY and not self.transport.is_closing():
            self._stop_waiting()
            self._awaited = Phase.BODY
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        """End after the answer that is being given; if there is none, wait a moment for what is already on its way."""
        if self._served() is not None or self._phase is not Phase.IDLE:
            super().shutdown()
            return
        self._is_leaving = True
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(LEAVE_SECONDS, self.timeout_keep_alive_handler)

    def _served(self) -> RequestResponseCycle | None:
        """Return the request that is being answered now."""
        cycle: RequestResponseCycle | None = cast("Any", self.cycle)  # None before the first request
        return None if cycle is None or cycle.response_complete else cycle

    # Waiting.

    def _while_incomplete(self, came: int) -> None:
        if self._phase is Phase.HEAD:
            if self._head_bytes > HEADER_BYTES_MAX + URL_BYTES_MAX:
                self._refuse(URLTooLong() if len(self.url) > URL_BYTES_MAX else HeadersTooLarge())
                return
        else:
            self._body_bytes += came
            if self._overhead > HEADER_BYTES_MAX:
                self._refuse(HeadersTooLarge())
                return
        if self._awaited is not self._phase:
            self._await(self._phase)

    def _while_silent(self, before: Phase) -> None:
        """Bytes came and no request is being served: the rest of one that was answered early, or idle line ends."""
        if before is Phase.BODY:
            self._stop_waiting()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif self._awaited is not Phase.HEAD:
            self._await(Phase.HEAD)

    def _await(self, phase: Phase) -> None:
        self._stop_waiting()
        self._awaited = phase
        self._since = self.loop.time()
        self._body_bytes = 0
        seconds = HEAD_SECONDS if phase is Phase.HEAD else BODY_SECONDS
        self._timer = self.loop.call_later(seconds, self._check_arrival)

    def _stop_waiting(self) -> None:
        self._awaited = Phase.IDLE
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_arrival(self) -> None:
        if self._awaited is Phase.BODY:
            if self.flow.read_paused:
                # It is us who do not read: the application is behind.
                self._await(Phase.BODY)
                return
            ends_at = self._since + BODY_SECONDS + self._body_bytes / BODY_BYTES_PER_SECOND
            if ends_at > self.loop.time():
                self._timer = self.loop.call_at(ends_at, self._check_arrival)
                return
        self._refuse(RequestTimeout())

    def _check_progress(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._write_timer = self.loop.call_later(WRITE_STALL_SECONDS, self._check_progress)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # Refusing.

    def _raise(self, refusal: AgentCacheError) -> None:
        """Stop the parser; `data_received` then refuses."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, error: AgentCacheError) -> None:
        """Answer with an error if an answer can still be given, and end the connection."""
        self._stop_waiting()
        self._discarding = True
        cycle = self._served()
        if cycle is not None:
            if cycle.response_started or self._phase is Phase.HEAD or self.pipeline:
                # Bytes of ours would land in the middle of another answer.
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        elif isinstance(error, RequestTimeout) and self._phase is Phase.IDLE:
            self.transport.close()  # nothing was asked
            return
        headers, body = problem(error, new_id())
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [STATUS_LINE[error.status], *(b"%b: %b\r\n" % pair for pair in headers), b"\r\n", body]
        self.transport.write(b"".join(lines))
        # Closing with bytes unread would reset the connection, and the answer with it.
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
