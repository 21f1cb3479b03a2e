"""Single flight: concurrent identical misses share one upstream call, streams included.

A flight is led by a task of its own, not by the request that started it, so a caller that hangs up fails nobody.
Every caller, the first one too, reads the flight through a `Seat`. Chunks are opaque here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from agentcache.kit.errors import AgentCacheError, Unavailable

Head = TypeVar("Head")
Chunk = TypeVar("Chunk")


class FlightAborted(Unavailable):
    """The shared upstream call was stopped before it finished."""

    code = "flight_aborted"


class ReaderTooSlow(AgentCacheError):
    """The caller reads so slowly that the answer no longer fits in the buffer it shares with others."""

    code = "reader_too_slow"
    status = 503


class Flight(Generic[Head, Chunk]):
    """One upstream call in progress: a head, then chunks, then an end or an error.

    At most `buffer_bytes` of chunks are kept. Up to there everyone can read from the first chunk on; a longer
    answer keeps only its tail, holds the leader back to the fastest reader, and drops readers that lag further.
    """

    def __init__(
        self, key: bytes, buffer_bytes: int, *, is_replacement: bool = False, outlives_readers: bool = True
    ) -> None:
        self.key = key
        self.is_replacement = is_replacement
        #: Whether the call is worth finishing when nobody listens any more.
        self.outlives_readers = outlives_readers
        #: True when the answer is another's: the upstream call was made by another worker, or earlier.
        self.led_elsewhere = False
        self.head: Head | None = None
        self.error: AgentCacheError | None = None
        self.done = False
        #: True when the answer outgrew the buffer: it cannot be stored, nor joined late.
        self.overflowed = False
        #: How the leader judged the finished answer; opaque to the engine.
        self.result: Any = None
        self._chunks: deque[tuple[Chunk, int]] = deque()
        self._first = 0
        self._bytes = 0
        self._buffer_bytes = buffer_bytes
        self._seats: set[Seat[Head, Chunk]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._at_end: list[Callable[[], None]] = []
        #: Stops the leader; set while there is one.
        self.abandon: Callable[[], None] | None = None

    def open(self, head: Head) -> None:
        """Publish the head; readers go on."""
        self.head = head
        self._wake()

    async def add(self, chunk: Chunk, size: int) -> None:
        """Publish a chunk of `size` bytes; waits while even the fastest reader of an overlong answer is behind.

        Raises `FlightAborted` when the answer is overlong and nobody reads it.
        """
        self._chunks.append((chunk, size))
        self._bytes += size
        self._wake()
        while self._bytes > self._buffer_bytes:
            self.overflowed = True
            if not self._seats:
                raise FlightAborted
            if max(seat.position for seat in self._seats) > self._first:
                self._drop_first()
                continue
            await self.progress()

    def finish(self, error: AgentCacheError | None = None) -> None:
        """End the flight, well or badly. The first call decides."""
        if not self.done:
            self.error = error
            self.done = True
            self.abandon = None
            at_end, self._at_end = self._at_end, []
            for action in at_end:
                action()
        self._wake()

    def when_ended(self, action: Callable[[], None]) -> None:
        """Call `action` once the flight has ended; now, if it has."""
        if self.done:
            action()
        else:
            self._at_end.append(action)

    def leave(self, seat: Seat[Head, Chunk]) -> None:
        """Take a reader off; without any, a call that is not worth finishing is stopped."""
        self._seats.discard(seat)
        if not self._seats and self.abandon is not None and (self.overflowed or not self.outlives_readers):
            self.abandon()
        self._wake()

    @property
    def readers(self) -> int:
        """How many callers read this flight now."""
        return len(self._seats)

    @property
    def joinable(self) -> bool:
        """Whether a new reader could still see everything."""
        return not self.overflowed

    def seat(self) -> Seat[Head, Chunk]:
        """Return a reader that starts at the first chunk."""
        return Seat(self)

    def _drop_first(self) -> None:
        _, size = self._chunks.popleft()
        self._first += 1
        self._bytes -= size

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def progress(self) -> None:
        """Wait until something about this flight changes."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


class Seat(Generic[Head, Chunk]):
    """One reader of a flight. Use as a context manager, so that a reader that leaves no longer counts."""

    def __init__(self, flight: Flight[Head, Chunk]) -> None:
        self.flight = flight
        self.position = 0

    def __enter__(self) -> Seat[Head, Chunk]:
        self.flight._seats.add(self)  # noqa: SLF001 - a seat is the other half of its flight
        return self

    def __exit__(self, *_: object) -> None:
        self.flight.leave(self)

    async def head(self) -> Head:
        """Wait for the head; raise the flight's error when it ended without one."""
        flight = self.flight
        while flight.head is None:
            if flight.done:
                raise flight.error or FlightAborted()
            await flight.progress()
        return flight.head

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield every chunk in order; raise the flight's error after what came before it."""
        flight = self.flight
        while True:
            offset = self.position - flight._first  # noqa: SLF001
            if offset < 0:
                raise ReaderTooSlow
            if offset < len(flight._chunks):  # noqa: SLF001
                chunk = flight._chunks[offset][0]  # noqa: SLF001
                self.position += 1
                if flight.overflowed:
                    flight._wake()  # noqa: SLF001 - the leader may be waiting for us
                yield chunk
            elif flight.done:
                if flight.error is not None:
                    raise flight.error
                return
            else:
                await flight.progress()

    async def end(self) -> None:
        """Wait until the flight has ended; raise its error if it ended badly."""
        flight = self.flight
        while not flight.done:
            await flight.progress()
        if flight.error is not None:
            raise flight.error


class Flights(Generic[Head, Chunk]):
    """The flights of this worker, by cache key."""

    def __init__(self, buffer_bytes: int) -> None:
        self._buffer_bytes = buffer_bytes
        self._by_key: dict[bytes, Flight[Head, Chunk]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def is_flying(self, key: bytes) -> bool:
        """Say whether `join` would find a flight."""
        flight = self._by_key.get(key)
        return flight is not None and flight.joinable

    def join(
        self,
        key: bytes,
        lead: Callable[[Flight[Head, Chunk]], Coroutine[Any, Any, None]],
        *,
        after_failure: bool = False,
        outlives_readers: bool = True,
    ) -> tuple[Flight[Head, Chunk], bool]:
        """Return the flight for `key` and whether this call started it (then `lead` runs in a task of its own).

        `after_failure` marks a caller whose first flight failed: a flight that it starts is the replacement, and
        whoever sees a replacement fail does not try again.
        """
        flight = self._by_key.get(key)
        if flight is not None and flight.joinable:
            return flight, False
        flight = Flight(key, self._buffer_bytes, is_replacement=after_failure, outlives_readers=outlives_readers)
        self._by_key[key] = flight
        self.start(flight, lead)
        return flight, True

    def start(
        self, flight: Flight[Head, Chunk], lead: Callable[[Flight[Head, Chunk]], Coroutine[Any, Any, None]]
    ) -> None:
        """Run `lead` for a flight outside any request's task."""
        self.started += 1
        task = asyncio.get_running_loop().create_task(self._run(flight, lead))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def abandon() -> None:
            # Off the table first: nobody may join what is about to stop.
            self.land(flight, FlightAborted())
            task.cancel()

        flight.abandon = abandon

    async def _run(
        self, flight: Flight[Head, Chunk], lead: Callable[[Flight[Head, Chunk]], Coroutine[Any, Any, None]]
    ) -> None:
        error: AgentCacheError | None = None
        try:
            await lead(flight)
        except AgentCacheError as caught:
            error = caught
        except asyncio.CancelledError:
            error = FlightAborted()
            raise
        except Exception:
            error = AgentCacheError()
            raise
        finally:
            self.land(flight, error)

    def land(self, flight: Flight[Head, Chunk], error: AgentCacheError | None = None) -> None:
        """End a flight and take it off the table first, so that nobody can join what has ended."""
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]
        flight.finish(error)

    async def drain(self, seconds: float) -> None:
        """Let flights finish for up to `seconds`, then abort the rest; their readers get an error."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        rest = set(self._tasks)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
