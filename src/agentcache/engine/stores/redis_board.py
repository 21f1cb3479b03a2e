"""Flights shared by workers on any number of machines: a lease per flight, and a stream of frames per leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from agentcache.engine.stores.boards import KEPT_SECONDS, LEASE_SECONDS, LeasedBoard, new_token
from agentcache.engine.stores.port import LeaderLost, StoreBusy, StoreUnavailable
from agentcache.engine.stores.redis_keys import PREFIX
from agentcache.engine.stores.redis_link import Command, Lane, RedisLink

#: A blocked read returns this often to see whether the leader still lives.
BLOCK_SECONDS = 0.5
_FRAMES_AT_ONCE = 500
#: A flight that is being followed holds one connection per worker.
FOLLOWED_MAX = 256
_LEASE_MS = int(LEASE_SECONDS * 1000)
_KEPT_MS = int(KEPT_SECONDS * 1000)
_FRAME, _END, _LOST = b"f", b"end", b"lost"


@dataclass(frozen=True, slots=True)
class _FlightKeys:
    """The names of one flight's keys, all in one slot."""

    base: str

    @classmethod
    def of(cls, flight: str) -> _FlightKeys:
        """Name the keys of a flight."""
        return cls(f"{PREFIX}f:{{{blake2b(flight.encode(), digest_size=16).hexdigest()}}}:")

    @property
    def lease(self) -> str:
        """Holds the token of the leader, for as long as it lives."""
        return self.base + "lease"

    @property
    def latest(self) -> str:
        """Holds the token of the last leader there was."""
        return self.base + "latest"

    def frames(self, token: str) -> str:
        """Name the stream of one leader."""
        return f"{self.base}s:{token}"


class RedisFlightBoard(LeasedBoard[_FlightKeys]):
    """Leases and frames in Redis, over the `link` of the entries; close it before the entries."""

    def __init__(self, link: RedisLink) -> None:
        super().__init__()
        self._link = link
        self._following = 0

    async def claim(self, flight: str) -> str | None:
        """Try to lead a flight."""
        keys, token = _FlightKeys.of(flight), new_token()

        async def work(lane: Lane) -> bool:
            (taken,) = await lane.ask(("SET", keys.lease, token, "NX", "PX", _LEASE_MS))
            if taken is not None:
                await lane.ask(("SET", keys.latest, token, "PX", 10 * _KEPT_MS))
            return taken is not None

        if not await self._link.run(keys.lease, work):
            return None
        self._lead(token, keys, self._sender(keys, token))
        return token

    async def follow(self, flight: str) -> AsyncIterator[bytes]:
        """Yield the frames of the flight's latest leader."""
        keys = _FlightKeys.of(flight)
        leading, latest = await self._link.run(
            keys.lease, lambda lane: lane.ask(("GET", keys.lease), ("GET", keys.latest))
        )
        token = leading or latest
        if token is None:
            raise LeaderLost
        if self._following >= FOLLOWED_MAX:
            raise StoreBusy("too many flights of other workers are being followed")
        # A queue in between, because a connection must not wait for a slow reader of ours.
        frames: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        reading = asyncio.get_running_loop().create_task(self._read(keys, token.decode(), frames))
        self._following += 1
        try:
            while (frame := await frames.get()) is not None:
                if isinstance(frame, Exception):
                    raise frame
                yield frame
        finally:
            self._following -= 1
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _sender(self, keys: _FlightKeys, token: str) -> Callable[[int, list[bytes]], Awaitable[None]]:
        stream = keys.frames(token)

        async def send(_position: int, frames: list[bytes]) -> None:
            commands: list[Command] = [("XADD", stream, "*", _FRAME, frame) for frame in frames]
            commands.append(("PEXPIRE", stream, 10 * _KEPT_MS))

            async def work(lane: Lane) -> None:
                # All or nothing: a retry must not be able to send a frame twice.
                await lane.transact(*commands)

            await self._link.run(stream, work)

        return send

    async def _read(self, keys: _FlightKeys, token: str, frames: asyncio.Queue[bytes | Exception | None]) -> None:
        async def work(lane: Lane) -> None:
            await _read_stream(lane, keys, token, frames)

        try:
            await self._link.run_apart(keys.lease, work)
        except (LeaderLost, StoreUnavailable) as error:
            frames.put_nowait(error)
        else:
            frames.put_nowait(None)

    async def _let_go(self, keys: _FlightKeys, token: str, how: bytes) -> None:
        stream = keys.frames(token)

        async def work(lane: Lane) -> None:
            ending: list[Command] = [("XADD", stream, "*", how, b""), ("PEXPIRE", stream, _KEPT_MS)]
            # In one step: whoever has seen the end may claim, and must not be sent back to what has ended.
            if await _still_leads(lane, keys, token) and await lane.transact(*ending, ("DEL", keys.lease)) is not None:
                return
            await lane.ask(*ending)

        await self._link.run(stream, work)

    async def _renew(self, leases: Mapping[str, _FlightKeys]) -> None:
        for token, keys in leases.items():

            async def work(lane: Lane, token: str = token, keys: _FlightKeys = keys) -> None:
                if await _still_leads(lane, keys, token):
                    await lane.transact(("PEXPIRE", keys.lease, _LEASE_MS))

            # A Redis that stumbles must not stop the heart.
            with suppress(StoreUnavailable):
                await self._link.run(keys.lease, work)

    async def _end(self, token: str, place: _FlightKeys) -> None:
        await self._let_go(place, token, _END)

    async def _give_up(self, leases: Mapping[str, _FlightKeys]) -> None:
        failure: StoreUnavailable | None = None
        for token, keys in leases.items():
            try:
                await self._let_go(keys, token, _LOST)
            except StoreUnavailable as error:
                failure = error
        if failure is not None:
            raise failure


async def _still_leads(lane: Lane, keys: _FlightKeys, token: str) -> bool:
    """Watch the lease and say whether it is ours, so that nobody ever touches another leader's."""
    lane.is_watching = True
    _, leading = await lane.ask(("WATCH", keys.lease), ("GET", keys.lease))
    return bool(leading == token.encode())


async def _read_stream(
    lane: Lane, keys: _FlightKeys, token: str, frames: asyncio.Queue[bytes | Exception | None]
) -> None:
    """Pass frames on until the leader's end; raise `LeaderLost` when it is gone without one."""
    stream, last, is_led = keys.frames(token), b"0", True
    while True:
        block = ("BLOCK", int(BLOCK_SECONDS * 1000)) if is_led else ()
        command = ("XREAD", "COUNT", _FRAMES_AT_ONCE, *block, "STREAMS", stream, last)
        (reply,) = await lane.ask(command, seconds=BLOCK_SECONDS + 1)
        if not reply:
            if not is_led:
                raise LeaderLost
            # Its last frames may have come after the read: read once more when the lease is gone.
            (leading,) = await lane.ask(("GET", keys.lease))
            is_led = leading == token.encode()
            continue
        for number, (kind, frame) in reply[0][1]:
            last = number
            if kind == _END:
                return
            if kind == _LOST:
                raise LeaderLost
            frames.put_nowait(frame)
