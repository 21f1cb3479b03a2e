"""T5: callers that give up at any moment, with Redis 100 ms away, never get or cause a reply meant for another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from agentcache.engine.entries import Selector
from agentcache.engine.stores.port import StoreUnavailable
from tests.faults.stores.redis_stores import fresh_entry, open_redis
from tests.support.chaos import ChaosProxy
from tests.support.entries import make_key, make_tenant
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import count

TENANTS = [make_tenant(f"team_{number}") for number in range(8)]
KEYS = 40
REQUESTS = count(2000, 5000)
CONCURRENT = 400


def body_for(tenant_id: str, name: int) -> bytes:
    return f"{tenant_id}/{name}/".encode() * (1 + name % 30)


@pytest.mark.parametrize("seed", range(1, count(1, 20) + 1))
async def test_a_reply_belongs_to_who_asked(redis_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with ChaosProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        store = open_redis(url, pool_size=64, pool_wait_seconds=60, socket_seconds=60, connect_seconds=60)
        for tenant in TENANTS:
            await asyncio.gather(
                *(store.put(tenant, fresh_entry(name, body_for(tenant.id, name))) for name in range(KEYS))
            )
        proxy.up.latency, proxy.down.latency, proxy.down.jitter = 0.05, 0.05, 0.01
        slots = asyncio.Semaphore(CONCURRENT)

        async def ask() -> None:
            tenant, name = chance.choice(TENANTS), chance.randrange(KEYS)
            kind = chance.choice(["get", "get", "get", "get", "put", "stats"])
            found = None
            async with slots:
                try:
                    async with asyncio.timeout(chance.choice([chance.uniform(0, 0.3), chance.uniform(0, 3)])):
                        if kind == "put":
                            await store.put(tenant, fresh_entry(name, body_for(tenant.id, name)))
                        elif kind == "stats":
                            assert (await store.stats(tenant)).namespaces == {"default": KEYS}
                        else:
                            found = await store.get(tenant, make_key(name))
                except TimeoutError:
                    outcomes["cancelled"] += 1
                    return
                except StoreUnavailable:
                    outcomes["unavailable"] += 1
                    return
            outcomes["answered"] += 1
            if found is not None:
                assert found.entry is not None
                assert found.entry.key == make_key(name)
                if found.entry.body != body_for(tenant.id, name):
                    outcomes["wrong owner"] += 1

        await asyncio.gather(*(ask() for _ in range(REQUESTS)))
        proxy.heal()
        # Every connection that is still in the pool is in step: each entry comes back to its owner.
        for tenant in TENANTS:
            for name in range(KEYS):
                entry = (await store.get(tenant, make_key(name))).entry
                assert entry is not None
                outcomes["wrong owner"] += entry.body != body_for(tenant.id, name)
            assert await store.count(tenant, Selector()) == KEYS
        await store.close()
    assert outcomes["wrong owner"] == 0
    assert outcomes["cancelled"] > REQUESTS / 10
    assert outcomes["answered"] > REQUESTS / 10

    record(f"T5 seed {seed}", requests=REQUESTS, **{k.replace(" ", "_"): v for k, v in outcomes.items()})


async def test_a_budget_shorter_than_a_handshake_still_ends_in_a_connection(redis_server: RedisServer) -> None:
    with ChaosProxy(redis_server.port) as proxy:
        store = open_redis(f"redis://127.0.0.1:{proxy.port}/3")
        proxy.down.latency = 0.04
        served = 0
        for _ in range(40):
            try:
                # Connecting and selecting a database takes one trip, the look-up another, the policy a third.
                async with asyncio.timeout(0.06):
                    await store.get(TENANTS[0], make_key(1))
                served += 1
            except TimeoutError:
                proxy.down.latency = max(0.0, proxy.down.latency - 0.001)
                await asyncio.sleep(0.01)
        assert served > 0
        await store.close()
