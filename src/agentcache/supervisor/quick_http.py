"""HTTP/1.1 that answers known hits on the spot: no parser, no task, no ASGI for a request whose bytes say it all.

Only a request that comes whole between two others, on a connection that stays, is looked at here, and only as a whole:
one byte more or less, and it goes the usual way. So does everything while the server ends or the caller reads slowly.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.known_hits import REQUEST_BYTES_MAX, SCOPE_KEY, KnownHit, KnownHits, NoKnownHits, RequestBytes
from agentcache.supervisor.bounded_http import BoundedHTTP, Phase
from agentcache.supervisor.quick_cycle import head_lines, status_line

#: How long the head of a request that was a hit waits for its body before it goes the usual way. Many clients send the
#: two one after the other, within microseconds.
HOLD_SECONDS: Final = 0.05
REQUEST_ID_LINE: Final = b"\r\nx-agentcache-request-id: "


class QuickHTTP(BoundedHTTP):
    """One connection of a caller; asks the application for known hits before anything is parsed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._known_hits: KnownHits | NoKnownHits | None = None
        #: The request that is coming in, as far as it is here, unless it can be no known hit; where its second piece
        #: begins; and how many requests have begun in these bytes.
        self._coming = b""
        self._split = 0
        self._begun = 0
        #: A head that waits for its body.
        self._held = b""
        self._hold_timer: asyncio.TimerHandle | None = None
        #: When a known hit was last answered, on the loop's clock.
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find out what the application knows."""
        super().connection_made(transport)
        self._known_hits = getattr(self.app, "known_hits", None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a head that was held: nothing was asked."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer at once if the bytes are those of a known hit."""
        if self._known_hits is None or self._discarding:
            super().data_received(data)
        elif self._is_between_requests():
            self._begin(self._known_hits, data)
        else:
            self._continue(data)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._begun += 1
        super().on_message_begin()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one that got a known hit meanwhile has not been idle for so long yet."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0 and not self._is_leaving:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _is_between_requests(self) -> bool:
        return self._phase is Phase.IDLE and self._served() is None

    def _begin(self, known_hits: KnownHits | NoKnownHits, data: bytes) -> None:
        held = self._release()
        data = held + data if held else data
        if not (self._is_leaving or self.flow.write_paused or self.transport.is_closing()):
            hit = known_hits.answer(data)
            if hit is not None:
                self._send(hit)
                return
            if not held and known_hits.begins(data):
                self._held = data
                self._hold_timer = self.loop.call_later(HOLD_SECONDS, self._feed_held)
                return
        self._feed(data, len(held))

    def _continue(self, data: bytes) -> None:
        if self._coming:
            # More than two pieces, more bytes than are remembered, or bytes after the end: nothing to learn from.
            is_second = not self._split and self._phase is not Phase.IDLE
            is_known = is_second and len(self._coming) + len(data) <= REQUEST_BYTES_MAX
            self._split = len(self._coming)
            self._coming = self._coming + data if is_known else b""
        super().data_received(data)
        self._note_whole()

    def _feed(self, data: bytes, split: int) -> None:
        self._coming = data if len(data) <= REQUEST_BYTES_MAX else b""
        self._split = split
        self._begun = 0
        super().data_received(data)
        self._note_whole()

    def _note_whole(self) -> None:
        """Tell the application the bytes of the request, once they are all here and are of this one alone."""
        if not self._coming or self._phase is not Phase.IDLE or self._discarding:
            return
        if self._begun == 1 and self.cycle.keep_alive and not self.expect_100_continue:
            self.cycle.scope[SCOPE_KEY] = RequestBytes(self._coming, self._split)  # type: ignore[typeddict-unknown-key]
        self._coming = b""

    def _send(self, hit: KnownHit) -> None:
        if self._timer is not None:
            self._stop_waiting()
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        self.server_state.total_requests += 1
        self.transport.write(self._render(hit))

    def _render(self, hit: KnownHit) -> bytes:
        defaults = self.server_state.default_headers
        rendered: _Rendered | None = hit.rendered
        if rendered is None or rendered.headers is not hit.headers or rendered.defaults is not defaults:
            head = status_line(hit.status) + head_lines(defaults) + head_lines(hit.headers)
            length = head_lines([(b"content-length", b"%d" % len(hit.body))])
            rendered = hit.rendered = _Rendered(hit.headers, defaults, head + REQUEST_ID_LINE, length)
        limits = head_lines(hit.limits) if hit.limits else b""
        return b"".join((rendered.head, hit.request_id, rendered.length, limits, b"\r\n\r\n", hit.body))

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None
        return held

    def _feed_held(self) -> None:
        self._feed(self._release(), 0)


class _Rendered(NamedTuple):
    """What a known hit's headers look like on the wire, and for which headers that is so."""

    headers: HeaderList
    defaults: HeaderList
    #: Up to the request id, and what follows it.
    head: bytes
    length: bytes
