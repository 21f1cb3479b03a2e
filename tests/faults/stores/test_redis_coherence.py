"""C16: two workers over one Redis. There is no message between them that could get lost: a look-up always asks."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentcache.engine.entries import Selector
from agentcache.engine.freshness import may_serve
from agentcache.engine.stores.port import StoreUnavailable
from tests.faults.stores.redis_stores import TENANT, fresh_entry, guarded_redis
from tests.support.chaos import ChaosProxy
from tests.support.entries import make_key
from tests.support.redis_server import RedisServer
from tests.support.reliability import record

ROUNDS = 20


@pytest.mark.parametrize("soft", [False, True], ids=["removed", "marked stale"])
async def test_c16_nothing_old_is_served_after_the_reply_whatever_connection_breaks(
    redis_server: RedisServer, soft: bool
) -> None:
    served_old = unanswered = 0
    with ChaosProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with guarded_redis(redis_server.url, budget_ms=5000) as one, guarded_redis(url, budget_ms=5000) as other:
            for number in range(ROUNDS):
                key = make_key(number)
                await one.put(TENANT, fresh_entry(number, tags=("t",)))
                assert (await other.get(TENANT, key)).entry is not None
                reading = [asyncio.create_task(other.get(TENANT, key)) for _ in range(5)]
                if number % 2:
                    proxy.reset_all()
                await one.withdraw(TENANT, Selector(tags=("t",)), soft=soft)
                if number % 3 == 0:
                    proxy.reset_all()
                for _ in range(3):
                    try:
                        entry = (await other.get(TENANT, key)).entry
                    except StoreUnavailable:
                        unanswered += 1
                        await asyncio.sleep(0.05)
                        continue
                    served_old += entry is not None and may_serve(entry.meta, time.time())
                await asyncio.gather(*reading, return_exceptions=True)
    assert served_old == 0
    assert unanswered < 3 * ROUNDS
    record(
        f"C16 {'marked stale' if soft else 'removed'}", rounds=ROUNDS, old_after_reply=served_old, unanswered=unanswered
    )
