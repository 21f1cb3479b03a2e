"""SQLite entries keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.guarded import GuardedStore
from agentcache.engine.stores.port import EntryStore
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.contract.entry_store import ENTRY_MAX_BYTES, GRACE_SECONDS, MAX_BYTES, EntryStoreContract, StoreMaker
from tests.support.entries import make_tenant


def open_sqlite(folder: Path, clock: ManualClock, *, sealed: bool = False) -> SqliteEntries:
    store = SqliteEntries(
        folder / "cache.db",
        clock=clock,
        max_bytes=MAX_BYTES,
        entry_max_bytes=ENTRY_MAX_BYTES,
        grace_seconds=GRACE_SECONDS,
        sealed=sealed,
    )
    store.open()
    return store


class TestSqliteEntries(EntryStoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path, clock: ManualClock) -> StoreMaker:
        async def make() -> EntryStore:
            return open_sqlite(tmp_path, clock)

        return make


class TestEncryptedSqliteEntries(EntryStoreContract):
    """The same with every value sealed."""

    @pytest.fixture
    def tenant(self) -> Tenant:
        return make_tenant("team_a", data_key=bytes(range(32)))

    @pytest.fixture
    def stranger(self) -> Tenant:
        return make_tenant("team_b", data_key=bytes(range(1, 33)))

    def odd_tenant(self, name: str) -> Tenant:
        return make_tenant(name, data_key=bytes(range(2, 34)))

    @pytest.fixture
    def make_store(self, tmp_path: Path, clock: ManualClock) -> StoreMaker:
        async def make() -> EntryStore:
            return EncryptedStore(open_sqlite(tmp_path, clock, sealed=True))

        return make


class TestGuardedSqliteEntries(EntryStoreContract):
    """The same behind the guard."""

    @pytest.fixture
    def make_store(self, tmp_path: Path, clock: ManualClock) -> StoreMaker:
        async def make() -> EntryStore:
            # A budget that a busy test machine does not exceed; what happens beyond it has its own tests.
            return GuardedStore(open_sqlite(tmp_path, clock), budget_ms=5000)

        return make
