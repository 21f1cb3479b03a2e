"""What reading an entry from the embedded file costs."""

from __future__ import annotations

from pathlib import Path

from agentcache.engine.entries import Selector
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant
from tests.support.plans import watch_plans


async def test_reading_an_entry_is_not_planned_anew(tmp_path: Path) -> None:
    store = SqliteEntries(
        tmp_path / "cache.db", clock=ManualClock(STORED_AT), max_bytes=1 << 26, entry_max_bytes=1 << 20, grace_seconds=60
    )  # fmt: skip
    store.open()
    tenant = make_tenant()

    async def look_up(name: str) -> None:
        await store.put(tenant, make_entry(name))
        # So that nothing is at hand.
        await store.invalidate(tenant, Selector(keys=(make_key(f"not {name}"),)))
        assert (await store.get(tenant, make_key(name))).entry is not None
        assert (await store.get(tenant, make_key(f"not {name}"))).entry is None

    try:
        await look_up("first")
        planned = watch_plans(store._reader.connection())
        await look_up("second")
        assert planned
        planned.clear()
        await look_up("third")
        assert not planned
    finally:
        await store.close()
