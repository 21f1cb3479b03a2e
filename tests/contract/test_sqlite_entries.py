"""SQLite entries keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcache.engine.stores.port import EntryStore
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.contract.entry_store import ENTRY_MAX_BYTES, GRACE_SECONDS, MAX_BYTES, EntryStoreContract, StoreMaker


class TestSqliteEntries(EntryStoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path, clock: ManualClock) -> StoreMaker:
        async def make() -> EntryStore:
            store = SqliteEntries(
                tmp_path / "cache.db",
                clock=clock,
                max_bytes=MAX_BYTES,
                entry_max_bytes=ENTRY_MAX_BYTES,
                grace_seconds=GRACE_SECONDS,
            )
            store.open()
            return store

        return make
