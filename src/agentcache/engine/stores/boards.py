"""What the boards share, and the board of a single worker."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from agentcache.engine.stores.port import LeaderLost, StoreUnavailable

#: What a board needs to know of a flight that it leads.
Place = TypeVar("Place")

#: How long a lease holds without a heartbeat, and how often the heart beats. A dead leader is noticed within 5 s.
LEASE_SECONDS = 4.0
HEARTBEAT_SECONDS = 1.0
#: How long the frames of a finished flight stay for slow followers.
KEPT_SECONDS = 60.0
#: A leader that is this far ahead of the board waits for it.
BUFFERED_BYTES_MAX = 1 << 20


def new_token() -> str:
    """Return a token that only its leader knows."""
    return secrets.token_hex(16)


class NoFlightBoard:
    """The board of one worker alone: every claim leads, and there are no others to tell."""

    async def claim(self, flight: str) -> str | None:
        """Return a token; the flights of this process are shared in memory, before the board is asked."""
        return new_token()

    async def publish(self, flight: str, token: str, frames: list[bytes]) -> None:
        """Drop the frames: nobody else can follow."""

    async def finish(self, flight: str, token: str) -> None:
        """Do nothing."""

    async def follow(self, flight: str) -> AsyncIterator[bytes]:
        """Raise `LeaderLost`: there is no other worker that could lead."""
        nothing: tuple[bytes, ...] = ()
        for frame in nothing:
            yield frame
        raise LeaderLost

    async def close(self) -> None:
        """Do nothing."""


class Outbox:
    """Frames of one led flight on their way out: gathered while the last batch is being written."""

    def __init__(self, send: Callable[[int, list[bytes]], Awaitable[None]]) -> None:
        """`send(position of the first frame, frames)` writes a batch."""
        self._send = send
        self._frames: list[bytes] = []
        self._bytes = 0
        self._sent = 0
        self._sending: asyncio.Task[None] | None = None
        self._failed: StoreUnavailable | None = None

    async def add(self, frames: list[bytes]) -> None:
        """Queue frames; waits only when far ahead. Raises the error of an earlier batch."""
        if self._failed is not None:
            raise self._failed
        self._frames += frames
        self._bytes += sum(map(len, frames))
        if self._sending is None and self._frames:
            self._sending = asyncio.get_running_loop().create_task(self._drain())
        if self._bytes > BUFFERED_BYTES_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything is written; raises `StoreUnavailable` when it cannot be."""
        if self._sending is not None:
            # Shielded: the frames still go out when this caller is cancelled.
            await asyncio.shield(self._sending)
        if self._failed is not None:
            raise self._failed

    def discard(self) -> None:
        """Forget what has not been written."""
        self._frames.clear()
        if self._sending is not None:
            self._sending.cancel()

    async def _drain(self) -> None:
        try:
            while self._frames:
                batch, self._frames, self._bytes = self._frames, [], 0
                await self._send(self._sent, batch)
                self._sent += len(batch)
        except StoreUnavailable as error:
            self._failed = error
        finally:
            self._sending = None


@dataclass(slots=True)
class _Led(Generic[Place]):
    place: Place
    outbox: Outbox


class LeasedBoard(ABC, Generic[Place]):
    """The side of a board that leads: flights by token, and the heart that keeps their leases.

    An adapter claims a flight, calls `_lead` with it, and says how leases are renewed, ended and given up.
    """

    def __init__(self) -> None:
        self._leases: dict[str, _Led[Place]] = {}
        self._heart: asyncio.Task[None] | None = None

    async def publish(self, flight: str, token: str, frames: list[bytes]) -> None:
        """Append frames for followers."""
        led = self._leases.get(token)
        if led is not None:
            await led.outbox.add(frames)

    async def finish(self, flight: str, token: str) -> None:
        """Close the flight."""
        led = self._leases.pop(token, None)
        if led is None:
            return
        try:
            await led.outbox.flush()
        except StoreUnavailable:
            # Followers must not take what they have for the whole: they see the leader as lost.
            await self._give_up({token: led.place})
            raise
        await self._end(token, led.place)

    async def close(self) -> None:
        """Give up the leases of this worker."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        leases, self._leases = self._leases, {}
        for led in leases.values():
            led.outbox.discard()
        if leases:
            # Whoever follows sees the leader as lost all the same, once its lease has run out.
            with suppress(StoreUnavailable):
                await self._give_up({token: led.place for token, led in leases.items()})

    def _lead(self, token: str, place: Place, send: Callable[[int, list[bytes]], Awaitable[None]]) -> None:
        """Keep the lease of a flight that has been claimed; `send` writes its frames, see `Outbox`."""
        self._leases[token] = _Led(place, Outbox(send))
        if self._heart is None or self._heart.done():
            self._heart = asyncio.get_running_loop().create_task(self._beat(), name="flight-heartbeat")

    async def _beat(self) -> None:
        while self._leases:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._renew({token: led.place for token, led in self._leases.items()})

    @abstractmethod
    async def _renew(self, leases: Mapping[str, Place]) -> None:
        """Renew leases, by token. Raises nothing: the lease bridges a few beats of a store that stumbles."""

    @abstractmethod
    async def _end(self, token: str, place: Place) -> None:
        """Write down that a flight has ended well."""

    @abstractmethod
    async def _give_up(self, leases: Mapping[str, Place]) -> None:
        """Have followers see the leader of these flights as lost."""
