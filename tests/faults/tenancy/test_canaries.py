"""T1: fifty tenants ask the same things, over every endpoint and both stores; nobody gets another's words. T2 on the way:
no two tenants share a cache key."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from agentcache.gateway.ports import UsageEvent
from tests.support.canary_load import CanaryLoad
from tests.support.gateway import LightGateway
from tests.support.reliability import record
from tests.support.tiers import count

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(count(360, 3600))

TENANTS = [f"t{number:02d}" for number in range(50)]
SQLITE_OPERATIONS = count(12_000, 800_000)
REDIS_OPERATIONS = count(8_000, 240_000)
#: So few in everyday runs that what a killed Redis lost is soon there again.
REDIS_TENANTS = TENANTS[: count(12, 50)]


@pytest.fixture(autouse=True)
def _quick_predictions(provider):
    provider.script(times=None, when=lambda call: call.dialect == "replicate", prediction_seconds=0.0)


def check(gateway, verdict, *, allowed, hits):
    """Assert on what the judge saw and on what the meter has of it."""
    assert verdict.violations == [], verdict.violations[:10]
    odd = [failure for failure in verdict.failures if "store_unavailable" not in failure]
    assert set(verdict.statuses) <= allowed, (verdict.statuses, odd)
    assert verdict.own_canaries.total() > verdict.operations / 2
    # Every kind of answer that says something says whose it is; what says nothing proves nothing.
    assert verdict.kinds.keys() - verdict.own_canaries.keys() <= {
        "native set", "list", "explain", "stats", "delete", "purge",
    }  # fmt: skip
    assert verdict.hits > verdict.operations * hits
    assert len(verdict.kinds) == 22
    events = gateway.events
    # Every request is one event, and it is charged to who asked.
    assert Counter(event.id for event in events) == Counter(dict.fromkeys(verdict.asked_by, 1))
    assert all(verdict.asked_by[event.id] == event.tenant_id for event in events)
    texts = [name for name in UsageEvent.__struct_fields__ if name not in ("id", "tenant_id")]
    assert not any("canary" in str(getattr(event, name)) for event in events for name in texts)


def test_fifty_tenants_over_sqlite(tmp_path, provider):
    with LightGateway(tmp_path, provider) as gateway:
        load = CanaryLoad({tenant: gateway.key(tenant) for tenant in TENANTS}, seed=1)
        started = time.perf_counter()
        asyncio.run(load.run(gateway.url, SQLITE_OPERATIONS // 8))
        gateway.run(
            load.run_inside(gateway.serve, SQLITE_OPERATIONS - load.verdict.operations), seconds=count(300, 2400)
        )
        seconds = time.perf_counter() - started
        check(gateway, load.verdict, allowed={200, 201, 202, 204, 404}, hits=1 / 4)
    record(
        "T1 SQLite", operations=load.verdict.operations, tenants=len(TENANTS), hits=load.verdict.hits,
        foreign_canaries=0, upstream_calls=provider.call_count, seconds=round(seconds, 1), shared_keys=0,
    )  # fmt: skip


def test_tenants_over_a_redis_that_fails(tmp_path, provider, redis_server):
    settings = {"AGENTCACHE_REDIS_URL": redis_server.url, "AGENTCACHE_STORE_BUDGET_MS": "50"}
    with LightGateway(tmp_path, provider, **settings) as gateway:
        load = CanaryLoad({tenant: gateway.key(tenant) for tenant in REDIS_TENANTS}, seed=2)
        verdict = load.verdict

        going_on = asyncio.Event()
        going_on.set()

        async def serve(*asked):
            await going_on.wait()
            await gateway.serve(*asked)

        async def until_used_again():
            """Hold all calls back until Redis is asked again: many could be over before the breaker has tried it."""
            going_on.clear()
            while not gateway.parts.entries.breaker.lets_through:
                await asyncio.sleep(0.01)
            going_on.set()

        async def break_and_mend(whole):
            for fault, mend in ((redis_server.freeze, redis_server.thaw), (redis_server.kill, redis_server.start)) * 2:
                for change, share in ((fault, 6), (mend, 24)):
                    reached = verdict.operations + REDIS_OPERATIONS // share
                    while verdict.operations < reached and not whole.done():
                        await asyncio.sleep(0.005)
                    await asyncio.to_thread(change)
                    if change is mend:
                        await until_used_again()

        async def run():
            whole = asyncio.create_task(load.run_inside(serve, REDIS_OPERATIONS * 7 // 8))
            await break_and_mend(whole)
            await whole

        gateway.run(run(), seconds=count(300, 2400))
        asyncio.run(load.run(gateway.url, REDIS_OPERATIONS - verdict.operations))
        check(gateway, verdict, allowed={200, 201, 202, 204, 404, 503}, hits=1 / 8)
        assert verdict.statuses[503] > 0, "the faults were felt by nobody"
    record(
        "T1 Redis with faults", operations=verdict.operations, tenants=len(REDIS_TENANTS), hits=verdict.hits,
        foreign_canaries=0, refused=verdict.statuses[503], upstream_calls=provider.call_count, shared_keys=0,
    )  # fmt: skip
