from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from agentcache.engine.entries import Lookup, Reach, Selector
from agentcache.engine.stores.breaker import BreakerState
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.guarded import GuardedStore
from agentcache.engine.stores.port import Put, StoreBusy, StoreFull, StoreStats, StoreUnavailable
from tests.support.entries import make_entry, make_key, make_tenant

TENANT = make_tenant()


class ScriptedStore:
    """Does what `error` and `delay` say, and counts."""

    reads_are_immediate = False

    def __init__(self) -> None:
        self.counters = StoreCounters()
        self.error: Exception | None = None
        self.delay = 0.0
        self.calls = 0
        self.pings = 0

    async def _act(self) -> None:
        self.calls += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error

    async def get(self, *_: Any) -> Lookup:
        await self._act()
        return Lookup(None, 7)

    async def put(self, *_: Any) -> Put:
        await self._act()
        return Put.STORED

    async def stats(self, *_: Any) -> StoreStats:
        await self._act()
        return StoreStats(0, 0, {})

    async def invalidate(self, *_: Any) -> int:
        await self._act()
        return 3

    async def withdraw(self, *_: Any, **__: Any) -> Reach:
        await self._act()
        return Reach(3)

    async def survey(self, *_: Any) -> Reach:
        await self._act()
        return Reach(3)

    async def which(self, *_: Any) -> set[bytes]:
        await self._act()
        return set()

    async def count(self, *_: Any) -> int:
        await self._act()
        return 3

    async def list_entries(self, *_: Any, **__: Any) -> Any:
        await self._act()

    async def sweep(self) -> int:
        await self._act()
        return 1

    async def ping(self) -> None:
        self.pings += 1
        await self._act()

    async def close(self) -> None:
        return None


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
async def guarded(store: ScriptedStore):
    guarded = GuardedStore(store, budget_ms=20)
    yield guarded
    await guarded.close()


async def fail(guarded: GuardedStore, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            await guarded.get(TENANT, make_key(1))


async def until_closed(guarded: GuardedStore) -> None:
    async with asyncio.timeout(60):
        while guarded.state is not BreakerState.CLOSED:
            await asyncio.sleep(0.01)


async def test_a_healthy_store_answers_through_the_guard(guarded: GuardedStore) -> None:
    assert await guarded.get(TENANT, make_key(1)) == Lookup(None, 7)
    assert await guarded.put(TENANT, make_entry()) is Put.STORED
    assert await guarded.invalidate(TENANT, Selector()) == 3
    assert await guarded.count(TENANT, Selector()) == 3
    assert await guarded.sweep() == 1
    assert (await guarded.stats(TENANT)).entries == 0
    await guarded.ping()
    assert guarded.state is BreakerState.CLOSED


async def test_a_slow_call_ends_with_its_budget(guarded: GuardedStore, store: ScriptedStore) -> None:
    store.delay = 60
    await fail(guarded)


async def test_three_failures_open_it_and_then_nobody_asks(guarded: GuardedStore, store: ScriptedStore) -> None:
    store.error = StoreUnavailable("gone")
    await fail(guarded, 3)
    assert guarded.state is BreakerState.OPEN
    await fail(guarded, 100)
    assert store.calls == 3
    with pytest.raises(StoreUnavailable):
        await guarded.sweep()


async def test_successes_in_between_keep_it_closed(guarded: GuardedStore, store: ScriptedStore) -> None:
    for _ in range(10):
        store.error = StoreUnavailable("gone")
        await fail(guarded, 2)
        store.error = None
        await guarded.get(TENANT, make_key(1))
    assert guarded.state is BreakerState.CLOSED


@pytest.mark.parametrize("error", [StoreBusy(), StoreFull()])
async def test_busy_and_full_are_passed_on_without_opening(
    guarded: GuardedStore, store: ScriptedStore, error: StoreUnavailable
) -> None:
    store.error = error
    for _ in range(20):
        with pytest.raises(type(error)):
            await guarded.put(TENANT, make_entry())
    assert guarded.state is BreakerState.CLOSED


async def test_a_defect_is_not_dressed_up_as_an_outage(guarded: GuardedStore, store: ScriptedStore) -> None:
    store.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await guarded.get(TENANT, make_key(1))


async def test_waiting_callers_share_one_probe_and_return_after_it(store: ScriptedStore) -> None:
    guarded = GuardedStore(store, budget_ms=10_000)
    store.error = StoreUnavailable("gone")
    await fail(guarded, 3)
    store.error = None

    async def call_until_served() -> None:
        while True:
            try:
                await guarded.get(TENANT, make_key(1))
                return
            except StoreUnavailable:
                await asyncio.sleep(0.01)

    store.delay = 0.015
    await asyncio.gather(*(call_until_served() for _ in range(500)))
    assert store.pings == 1
    assert guarded.breaker.probes == 1
    assert guarded.state is BreakerState.CLOSED
    await guarded.close()


async def test_one_line_is_logged_per_change_of_state(store: ScriptedStore) -> None:
    with structlog.testing.capture_logs() as lines:
        guarded = GuardedStore(store, budget_ms=10_000)
        store.error = StoreUnavailable("gone")
        await fail(guarded, 1000)
        await asyncio.sleep(0.7)
        await fail(guarded, 1000)
        store.error = None
        await until_closed(guarded)
        await guarded.close()
    assert [line["event"] for line in lines] == ["store breaker opened", "store breaker closed"]
    assert guarded.breaker.opened == 1
    assert guarded.breaker.probes >= 2


async def test_immediate_reads_pass_by_the_guard(store: ScriptedStore) -> None:
    store.reads_are_immediate = True
    guarded = GuardedStore(store, budget_ms=20)
    store.error = StoreUnavailable("gone")
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await guarded.put(TENANT, make_entry())
    assert guarded.state is BreakerState.OPEN
    store.error = None
    assert await guarded.get(TENANT, make_key(1)) == Lookup(None, 7)
    await guarded.close()


async def test_a_cancelled_caller_is_no_failure(guarded: GuardedStore, store: ScriptedStore) -> None:
    store.delay = 60
    for _ in range(10):
        task = asyncio.create_task(guarded.get(TENANT, make_key(1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert guarded.state is BreakerState.CLOSED
