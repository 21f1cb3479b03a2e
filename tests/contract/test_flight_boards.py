"""The flight boards keep the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentcache.engine.stores.boards import NoFlightBoard
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import FlightBoard, LeaderLost
from agentcache.engine.stores.redis_board import RedisFlightBoard
from agentcache.engine.stores.redis_link import RedisLink
from agentcache.engine.stores.sqlite_board import SqliteFlightBoard
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import SystemClock
from tests.contract.flight_board import FlightBoardContract
from tests.support.redis_server import RedisCluster, RedisServer


class TestSqliteFlightBoard(FlightBoardContract):
    @pytest.fixture
    async def make_board(self, tmp_path: Path):
        opened: list[SqliteEntries] = []

        async def make() -> FlightBoard:
            entries = SqliteEntries(
                tmp_path / "cache.db",
                clock=SystemClock(),
                max_bytes=64 << 20,
                entry_max_bytes=1 << 20,
                grace_seconds=60,
            )
            entries.open()
            opened.append(entries)
            return SqliteFlightBoard(entries, clock=SystemClock())

        yield make
        for entries in opened:
            await entries.close()

    @pytest.fixture
    def kill(self) -> Callable[[FlightBoard], Awaitable[None]]:
        async def stop_the_heart(board: FlightBoard) -> None:
            assert isinstance(board, SqliteFlightBoard)
            assert board._heart is not None
            board._heart.cancel()
            await asyncio.gather(board._heart, return_exceptions=True)
            board._leases.clear()

        return stop_the_heart


class RedisBoards(FlightBoardContract):
    @pytest.fixture
    async def make_board(self, url: str):
        links: list[RedisLink] = []

        async def make() -> FlightBoard:
            link = RedisLink(url, counters=StoreCounters(), pool_wait_seconds=60, socket_seconds=60, connect_seconds=60)
            links.append(link)
            return RedisFlightBoard(link)

        yield make
        for link in links:
            await link.close()

    @pytest.fixture
    def kill(self) -> Callable[[FlightBoard], Awaitable[None]]:
        async def stop_the_heart(board: FlightBoard) -> None:
            assert isinstance(board, RedisFlightBoard)
            assert board._heart is not None
            board._heart.cancel()
            await asyncio.gather(board._heart, return_exceptions=True)
            board._leases.clear()

        return stop_the_heart


class TestRedisFlightBoard(RedisBoards):
    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        redis_server.command("FLUSHALL")
        return redis_server.url


class TestRedisClusterFlightBoard(RedisBoards):
    @pytest.fixture
    def url(self, redis_cluster: RedisCluster) -> str:
        redis_cluster.flush()
        return redis_cluster.url.replace("redis://", "redis+cluster://")


async def test_a_lone_worker_always_leads() -> None:
    board = NoFlightBoard()
    first, second = await board.claim("f"), await board.claim("f")
    assert first is not None
    assert second is not None
    assert first != second
    await board.publish("f", first, [b"x"])
    await board.finish("f", first)
    with pytest.raises(LeaderLost):
        await anext(board.follow("f"))
    await board.close()
