"""A store that never keeps its caller waiting: every call has a time budget, and a breaker behind it.

Reads of a store that answers on the spot (`reads_are_immediate`) pass straight through: a budget cannot interrupt
them, and its timer would cost as much as the read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from agentcache.engine.entries import Entry, Lookup, Mark, Reach, Selector, Tenant
from agentcache.engine.stores.breaker import Breaker, BreakerState
from agentcache.engine.stores.coalesced import CoalescedReads
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import EntryStore, Page, Put, StoreBusy, StoreFull, StoreStats, StoreUnavailable
from agentcache.kit.clock import Clock, SystemClock

T = TypeVar("T")


class CountedStore(EntryStore, Protocol):
    """An entry store that counts what goes wrong inside it."""

    counters: StoreCounters
    #: Whether `get` answers without ever suspending.
    reads_are_immediate: bool


class GuardedStore:
    """Wraps a store; raises `StoreUnavailable` within the budget, and at once while the breaker is open.

    `budget_ms` holds for `get`, `put` and `ping`, `bulk_seconds` for what may touch every entry of a tenant.
    `sweep` has no budget: nobody waits for it.
    """

    def __init__(
        self,
        store: CountedStore,
        *,
        budget_ms: float = 50.0,
        bulk_seconds: float = 30.0,
        clock: Clock | None = None,
        name: str = "cache",
    ) -> None:
        self.counters = store.counters
        self.reads_are_immediate = store.reads_are_immediate
        self._store = store
        self._reads = CoalescedReads(store.get)
        self._budget_seconds = budget_ms / 1000
        self._bulk_seconds = bulk_seconds
        self._clock = clock or SystemClock()
        self.breaker = Breaker(name, self._probe, clock=self._clock)
        if store.reads_are_immediate:
            self.get = store.get  # type: ignore[method-assign] # the wrapped store's own, for nothing at all on top

    @property
    def state(self) -> BreakerState:
        """What the breaker thinks of the store."""
        return self.breaker.state

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up."""
        return await self._within(self._budget_seconds, lambda: self._reads.get(tenant, key))

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store an entry. When the budget runs out it may still be stored."""
        return await self._within(self._budget_seconds, lambda: self._store.put(tenant, entry, since))

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches; not final unless it returns."""
        return await self._within(self._bulk_seconds, lambda: self._store.invalidate(tenant, selector))

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Invalidate what matches, and tell what was met; not final unless it returns."""
        return await self._within(self._bulk_seconds, lambda: self._store.withdraw(tenant, selector, soft=soft))

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""
        return await self._within(self._bulk_seconds, lambda: self._store.survey(tenant, selector))

    async def which(self, tenant: Tenant, selector: Selector, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` whose entries a selector means now."""
        return await self._within(self._bulk_seconds, lambda: self._store.which(tenant, selector, keys))

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""
        return await self._within(self._bulk_seconds, lambda: self._store.count(tenant, selector))

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first."""
        return await self._within(
            self._bulk_seconds, lambda: self._store.list_entries(tenant, selector, cursor=cursor, limit=limit)
        )

    async def stats(self, tenant: Tenant) -> StoreStats:
        """Return totals."""
        return await self._within(self._bulk_seconds, lambda: self._store.stats(tenant))

    async def sweep(self) -> int:
        """Make room; skipped while the breaker is open."""
        if not self.breaker.lets_through:
            raise StoreUnavailable
        return await self._store.sweep()

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless a read works now."""
        await self._within(self._budget_seconds, self._store.ping)

    async def close(self) -> None:
        """Stop probing and close the store."""
        await self.breaker.close()
        await self._store.close()

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(self._budget_seconds):
                await self._store.ping()
        except TimeoutError:
            raise StoreUnavailable from None

    async def _within(self, seconds: float, call: Callable[[], Awaitable[T]]) -> T:
        breaker = self.breaker
        if not breaker.lets_through:
            raise StoreUnavailable("the cache store is not answering; it is left alone until it does")
        started_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(seconds):
                result = await call()
        except TimeoutError:
            breaker.record_failure("slower than its budget", started_at)
            raise StoreUnavailable(f"the cache store took longer than {seconds * 1000:.0f} ms") from None
        except (StoreBusy, StoreFull):
            # Too many callers, or no room: the store itself answers.
            raise
        except StoreUnavailable as error:
            breaker.record_failure(error.message, started_at)
            raise
        breaker.record_success()
        return result
