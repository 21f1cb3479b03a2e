"""Stores over Redis as the product sets them up, for the fault scenarios."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentcache.engine.stores.breaker import BreakerState
from agentcache.engine.stores.guarded import GuardedStore
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.kit.clock import SystemClock
from tests.support.entries import make_entry, make_key, make_tenant

TENANT = make_tenant()


def open_redis(url: str, **options: Any) -> RedisEntries:
    return RedisEntries(
        url, clock=SystemClock(), max_bytes=1 << 28, entry_max_bytes=1 << 20, grace_seconds=60, **options
    )


@asynccontextmanager
async def guarded_redis(url: str, *, budget_ms: float = 50, **options: Any) -> AsyncIterator[GuardedStore]:
    store = GuardedStore(open_redis(url, **options), budget_ms=budget_ms)
    try:
        yield store
    finally:
        await store.close()


def fresh_entry(name: str | int, body: bytes = b"{}", **meta: Any):
    return make_entry(name, body, stored_at=time.time(), **meta)


class Caller:
    """Calls `get` again and again, as a gateway would, and notes how each ended and how long it took."""

    def __init__(self, store: GuardedStore, name: str | int = "a") -> None:
        self.store = store
        self.key = make_key(name)
        self.outcomes: Counter[str] = Counter()
        #: (breaker was open when the call began, seconds)
        self.times: list[tuple[bool, float]] = []

    async def call(self) -> None:
        was_open = self.store.state is not BreakerState.CLOSED
        started = time.perf_counter()
        try:
            found = await self.store.get(TENANT, self.key)
            self.outcomes["hit" if found.entry is not None else "miss"] += 1
        except StoreUnavailable as error:
            self.outcomes[error.code] += 1
        self.times.append((was_open, time.perf_counter() - started))

    async def call_for(self, seconds: float, pause: float = 0.001) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.call()
            await asyncio.sleep(pause)

    async def call_until(self, state: BreakerState, seconds: float, pause: float) -> None:
        """Call until the breaker is in a state, at most for some seconds."""
        end = time.monotonic() + seconds
        while self.store.state is not state and time.monotonic() < end:
            await self.call()
            await asyncio.sleep(pause)

    def p99_ms(self, *, is_open: bool) -> float:
        times = [seconds for was_open, seconds in self.times if was_open is is_open]
        return round(1000 * statistics.quantiles(times, n=100)[98], 3) if len(times) > 1 else 0.0


async def until(store: GuardedStore, state: BreakerState, seconds: float) -> float:
    """Wait for a state of the breaker; return how long it took."""
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while store.state is not state:
            await asyncio.sleep(0.005)
    return round(time.monotonic() - started, 3)


async def seed(store: GuardedStore) -> None:
    """Store the entry `a`, past the guard: how long that takes is not what the scenario is about."""
    await store._store.put(TENANT, fresh_entry("a"))


async def is_served(store: GuardedStore) -> bool:
    """Say whether the entry `a` comes out, allowing a busy machine some calls that miss their budget."""
    for _ in range(100):
        try:
            return (await store.get(TENANT, make_key("a"))).entry is not None
        except StoreUnavailable:
            await asyncio.sleep(0.02)
    return False
