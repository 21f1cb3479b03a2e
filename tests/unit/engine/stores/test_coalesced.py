"""Look-ups are shared only with callers that asked before they began."""

from __future__ import annotations

import asyncio

import pytest

from agentcache.engine.entries import Lookup
from agentcache.engine.stores.coalesced import CoalescedReads
from agentcache.engine.stores.port import StoreUnavailable
from tests.support.entries import make_key, make_tenant
from tests.support.virtual_loop import VirtualLoop, run_virtual

TENANT = make_tenant()


class Store:
    """Answers with the mark that stands when a look-up begins, a moment later."""

    def __init__(self):
        self.mark = 0
        self.reads = 0
        self.fails = False

    async def get(self, tenant, key):
        self.reads += 1
        begun_at = self.mark
        await asyncio.sleep(0.01)
        if self.fails:
            raise StoreUnavailable
        return Lookup(None, begun_at)


async def test_a_burst_costs_two_look_ups():
    store = Store()
    reads = CoalescedReads(store.get)
    found = await asyncio.gather(*(reads.get(TENANT, make_key("a")) for _ in range(200)))
    assert len(found) == 200
    assert store.reads == 2
    await reads.get(TENANT, make_key("a"))
    assert store.reads == 3
    assert not reads._running
    assert not reads._next


async def test_keys_and_tenants_are_apart():
    store = Store()
    reads = CoalescedReads(store.get)
    await asyncio.gather(
        reads.get(TENANT, make_key("a")), reads.get(TENANT, make_key("b")), reads.get(make_tenant("b"), make_key("a"))
    )
    assert store.reads == 3


async def test_a_failure_reaches_everyone_and_is_forgotten():
    store = Store()
    store.fails = True
    reads = CoalescedReads(store.get)
    found = await asyncio.gather(*(reads.get(TENANT, make_key("a")) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found] == [StoreUnavailable] * 5
    store.fails = False
    assert (await reads.get(TENANT, make_key("a"))).mark == 0


async def test_callers_that_leave_take_nobody_with_them():
    store = Store()
    reads = CoalescedReads(store.get)
    callers = [asyncio.ensure_future(reads.get(TENANT, make_key("a"))) for _ in range(6)]
    await asyncio.sleep(0)
    callers[0].cancel()
    callers[1].cancel()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, True, False, False, False, False]


@pytest.mark.parametrize("first_seed", range(0, 300, 100))
def test_nobody_ever_gets_an_answer_from_before_they_asked(first_seed):
    async def scene(loop: VirtualLoop) -> int:
        store, chance = Store(), loop.random
        reads = CoalescedReads(store.get)

        async def caller() -> None:
            for _ in range(5):
                await asyncio.sleep(chance.random() * 0.02)
                asked_at = store.mark
                async with asyncio.timeout(chance.choice((0.005, 1))):
                    assert (await reads.get(TENANT, make_key("a"))).mark >= asked_at

        async def invalidate() -> None:
            for _ in range(30):
                await asyncio.sleep(chance.random() * 0.01)
                store.mark += 1

        changing = asyncio.create_task(invalidate())
        ended = await asyncio.gather(*(caller() for _ in range(6)), return_exceptions=True)
        assert {type(each) for each in ended} <= {type(None), TimeoutError}
        await changing
        return store.reads

    for seed in range(first_seed, first_seed + 100):
        run = run_virtual(scene, seed=seed)
        assert run.leaked == (), seed
        assert run.unhandled == (), seed
