"""SQLite entries keep the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentcache.engine.entries import Entry, Selector, Tenant
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.guarded import GuardedStore
from agentcache.engine.stores.port import EntryStore
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.contract.entry_store import ENTRY_MAX_BYTES, GRACE_SECONDS, MAX_BYTES, EntryStoreContract, StoreMaker
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant


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


class TestCurrentEntries:
    """What `is_current` tells on the spot is what a look-up would tell."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(STORED_AT)

    @pytest.fixture
    async def store(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteEntries]:
        store = open_sqlite(tmp_path, clock)
        yield store
        await store.close()

    async def read(self, store: SqliteEntries, tenant: Tenant, key: bytes) -> Entry:
        entry = (await store.get(tenant, key)).entry
        assert entry is not None
        return entry

    async def test_an_entry_is_current_once_it_was_read(self, store: SqliteEntries) -> None:
        tenant, stored = make_tenant(), make_entry()
        await store.put(tenant, stored)
        assert not store.is_current(tenant, stored), "only what a look-up returned can be"
        entry = await self.read(store, tenant, stored.key)
        assert store.is_current(tenant, entry)
        assert (await store.get(tenant, stored.key)).entry is entry

    async def test_it_counts_as_a_use(self, store: SqliteEntries) -> None:
        tenant = make_tenant()
        await store.put(tenant, make_entry())
        entry = await self.read(store, tenant, make_key(0))
        for _ in range(4):
            assert store.is_current(tenant, entry)
        assert (await store.list_entries(tenant, Selector())).rows[0].hits == 5

    async def test_it_is_nobody_elses(self, store: SqliteEntries) -> None:
        tenant = make_tenant()
        await store.put(tenant, make_entry())
        entry = await self.read(store, tenant, make_key(0))
        assert not store.is_current(make_tenant("team_b"), entry)

    @pytest.mark.parametrize("act", ["replace", "invalidate", "remove another"])
    async def test_it_ends_with_any_removal(self, store: SqliteEntries, act: str) -> None:
        tenant = make_tenant()
        await store.put(tenant, make_entry(0))
        await store.put(tenant, make_entry(1))
        entry = await self.read(store, tenant, make_key(0))
        if act == "replace":
            await store.put(tenant, make_entry(0, b"{}"))
        else:
            await store.invalidate(tenant, Selector(keys=(make_key(0 if act == "invalidate" else 1),)))
        assert not store.is_current(tenant, entry)

    async def test_a_removal_by_another_worker_ends_it(
        self, store: SqliteEntries, tmp_path: Path, clock: ManualClock
    ) -> None:
        tenant, other = make_tenant(), open_sqlite(tmp_path, clock)
        await store.put(tenant, make_entry())
        entry = await self.read(store, tenant, make_key(0))
        await other.invalidate(tenant, Selector())
        assert not store.is_current(tenant, entry)
        await other.close()

    async def test_it_ends_with_lifetime_and_grace(self, store: SqliteEntries, clock: ManualClock) -> None:
        tenant = make_tenant()
        await store.put(tenant, make_entry(lifetime_seconds=10.0))
        entry = await self.read(store, tenant, make_key(0))
        clock.move(10.0 + GRACE_SECONDS)
        assert not store.is_current(tenant, entry)

    async def test_a_closed_store_knows_nothing(self, tmp_path: Path, clock: ManualClock) -> None:
        tenant, store = make_tenant(), open_sqlite(tmp_path, clock)
        await store.put(tenant, make_entry())
        entry = await self.read(store, tenant, make_key(0))
        await store.close()
        assert not store.is_current(tenant, entry)
