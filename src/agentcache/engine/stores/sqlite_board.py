"""Flights shared by the workers of one machine, through the cache file they share anyway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import apsw

from agentcache.engine.stores.boards import KEPT_SECONDS, LEASE_SECONDS, LeasedBoard, new_token
from agentcache.engine.stores.port import LeaderLost, StoreUnavailable
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.engine.stores.sqlite_file import Link, all_rows
from agentcache.kit.clock import Clock

#: A follower looks this often; a look costs about ten microseconds.
POLL_SECONDS = 0.005
_READ_BUSY_MS = 5
_READ_CACHE_BYTES = 2 << 20


class SqliteFlightBoard(LeasedBoard[str]):
    """Leases and frames as rows of the cache file of `entries`; it must be open, and be closed after the board."""

    def __init__(self, entries: SqliteEntries, *, clock: Clock) -> None:
        super().__init__()
        self._writer = entries.writer
        self._clock = clock
        self._reader = Link(entries.file, busy_ms=_READ_BUSY_MS, cache_bytes=_READ_CACHE_BYTES, keeps_plans=True)

    async def claim(self, flight: str) -> str | None:
        """Try to lead a flight."""
        token = new_token()
        now = self._clock.now()
        number = await self._writer.submit(lambda connection: _claim(connection, flight, token, now))
        if number is None:
            return None
        self._lead(token, flight, self._sender(number))
        return token

    async def follow(self, flight: str) -> AsyncIterator[bytes]:
        """Yield the frames of the flight's latest leader."""
        found = self._read("SELECT number FROM flights WHERE flight = ? ORDER BY number DESC LIMIT 1", (flight,))
        if not found:
            raise LeaderLost
        (number,) = found[0]
        position = 0
        while True:
            # The state first: frames written before the end are then surely seen.
            state = self._read("SELECT leased_until, finished_at FROM flights WHERE number = ?", (number,))
            frames = self._read(
                "SELECT frame FROM frames WHERE flight = ? AND position >= ? ORDER BY position", (number, position)
            )
            position += len(frames)
            for (frame,) in frames:
                yield frame
            if not state:
                raise LeaderLost
            leased_until, finished_at = state[0]
            if finished_at is not None:
                return
            if not frames:
                if leased_until < self._clock.now():
                    raise LeaderLost
                await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Give up the leases of this worker, and close."""
        await super().close()
        self._reader.drop()

    def _sender(self, number: int) -> Callable[[int, list[bytes]], asyncio.Future[None]]:
        def send(position: int, frames: list[bytes]) -> asyncio.Future[None]:
            weight = sum(map(len, frames))
            return self._writer.submit(lambda connection: _append(connection, number, position, frames), weight)

        return send

    def _read(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return all_rows(self._reader.connection(), query, values)
        except apsw.Error as error:
            raise self._reader.report(error) from error

    async def _renew(self, leases: Mapping[str, str]) -> None:
        """Renew leases, and clear away what nobody reads any more."""
        now = self._clock.now()
        # A disk that is full or busy for a moment must not stop the heart.
        with suppress(StoreUnavailable):
            await self._writer.submit(lambda connection: _renew(connection, list(leases), now))

    async def _end(self, token: str, place: str) -> None:
        now = self._clock.now()
        await self._writer.submit(lambda connection: _finish(connection, token, now))

    async def _give_up(self, leases: Mapping[str, str]) -> None:
        await self._writer.submit(lambda connection: _give_up(connection, list(leases)))


def _claim(connection: apsw.Connection, flight: str, token: str, now: float) -> int | None:
    led = all_rows(
        connection,
        "SELECT 1 FROM flights WHERE flight = ? AND finished_at IS NULL AND leased_until > ?",
        (flight, now),
    )
    if led:
        return None
    connection.execute(
        "INSERT INTO flights (flight, token, leased_until) VALUES (?, ?, ?)", (flight, token, now + LEASE_SECONDS)
    )
    return connection.last_insert_rowid()


def _append(connection: apsw.Connection, number: int, position: int, frames: list[bytes]) -> None:
    connection.executemany(
        "INSERT INTO frames VALUES (?, ?, ?)", ((number, position + i, frame) for i, frame in enumerate(frames))
    )


def _finish(connection: apsw.Connection, token: str, now: float) -> None:
    connection.execute("UPDATE flights SET finished_at = ? WHERE token = ?", (now, token))


def _give_up(connection: apsw.Connection, tokens: list[str]) -> None:
    for token in tokens:
        connection.execute("UPDATE flights SET leased_until = 0 WHERE token = ?", (token,))


def _renew(connection: apsw.Connection, tokens: list[str], now: float) -> None:
    for token in tokens:
        connection.execute(
            "UPDATE flights SET leased_until = ? WHERE token = ? AND leased_until > 0", (now + LEASE_SECONDS, token)
        )
    over = all_rows(
        connection,
        "SELECT number FROM flights WHERE finished_at < ? OR (finished_at IS NULL AND leased_until < ?) LIMIT 20",
        (now - KEPT_SECONDS, now - KEPT_SECONDS),
    )
    for (number,) in over:
        connection.execute("DELETE FROM frames WHERE flight = ?", (number,))
        connection.execute("DELETE FROM flights WHERE number = ?", (number,))
