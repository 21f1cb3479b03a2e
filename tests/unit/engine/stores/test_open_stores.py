from __future__ import annotations

from pathlib import Path

import pytest

from agentcache.engine.stores.boards import NoFlightBoard
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.open_stores import open_stores
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.engine.stores.redis_board import RedisFlightBoard
from agentcache.engine.stores.sqlite_board import SqliteFlightBoard
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import SystemClock
from agentcache.settings import Settings
from tests.support.entries import make_entry, make_tenant

DATA_KEY = bytes(range(32))


def settings(folder: Path, **more: str) -> Settings:
    return Settings.from_env(
        {"AGENTCACHE_DATA_DIR": str(folder)} | {f"AGENTCACHE_{name.upper()}": value for name, value in more.items()}
    )


async def test_by_default_entries_are_in_the_data_folder_and_a_lone_worker_leads(tmp_path: Path) -> None:
    stores = open_stores(settings(tmp_path), SystemClock())
    assert isinstance(stores.entries._store, SqliteEntries)
    assert isinstance(stores.board, NoFlightBoard)
    assert await stores.entries.put(make_tenant(), make_entry("a")) is Put.STORED
    assert (tmp_path / "cache.db").exists()
    await stores.close()


async def test_several_workers_share_flights_through_the_same_file(tmp_path: Path) -> None:
    stores = open_stores(settings(tmp_path, workers="2"), SystemClock())
    assert isinstance(stores.board, SqliteFlightBoard)
    token = await stores.board.claim("f")
    assert token is not None
    await stores.close()


async def test_encryption_stands_between_guard_and_store(tmp_path: Path) -> None:
    stores = open_stores(settings(tmp_path, encrypt_entries="on"), SystemClock())
    assert isinstance(stores.entries._store, EncryptedStore)
    assert await stores.entries.put(make_tenant(data_key=DATA_KEY), make_entry("a")) is Put.STORED
    with pytest.raises(StoreUnavailable):
        await stores.entries.put(make_tenant(), make_entry("a"))
    await stores.close()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_with_redis_a_server_that_is_not_there_yet_stops_nobody_from_starting(
    tmp_path: Path, scheme: str
) -> None:
    stores = open_stores(settings(tmp_path, redis_url=f"{scheme}://127.0.0.1:1/0"), SystemClock())
    assert isinstance(stores.board, RedisFlightBoard)
    with pytest.raises(StoreUnavailable):
        await stores.entries.put(make_tenant(), make_entry("a"))
    with pytest.raises(StoreUnavailable):
        await stores.board.claim("f")
    assert not (tmp_path / "cache.db").exists()
    await stores.close()
