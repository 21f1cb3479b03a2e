"""Entries in Redis or Valkey (6.2 or newer), single or Cluster, shared by workers on any number of machines.

Redis must not evict keys that have no expiry: the indexes by which entries are invalidated have none. With
`maxmemory` set, its policy must therefore be `noeviction` or one of `volatile-*`; under another one this store
refuses to work rather than leave an invalidated entry behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog
from redis.exceptions import OutOfMemoryError

from agentcache.engine.entries import Entry, Lookup, Mark, Reach, Selector, Tenant, outdated
from agentcache.engine.freshness import kept_until
from agentcache.engine.stores import redis_queries as queries
from agentcache.engine.stores import redis_writes as writes
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.framing import (
    PLAIN,
    SEAL_BYTES,
    SEALED,
    Corrupt,
    open_frame,
    outdated_since,
    pack_head,
    split_frame,
)
from agentcache.engine.stores.port import Page, Put, StoreFull, StoreStats, StoreUnavailable, UnsuitableStore
from agentcache.engine.stores.redis_keys import TENANTS_KEY, CatalogRow, TenantKeys, decode_row, describe
from agentcache.engine.stores.redis_link import (
    CONNECT_SECONDS,
    POOL_SIZE,
    POOL_WAIT_SECONDS,
    SOCKET_SECONDS,
    Lane,
    RedisLink,
)
from agentcache.engine.stores.redis_writes import REMOVED_PER_TRANSACTION, Framed
from agentcache.kit.clock import Clock

log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Uses are kept in memory and written down this often.
_USES_SECONDS = 2.0
_USES_AT_ONCE = 500
#: The policy and the tenant's registration are looked at again after this long.
_CHECK_SECONDS = 60.0
#: Catalog rows that a sweep checks per round for entries that Redis evicted by itself.
_SAMPLE = 200
_SAMPLE_ROUNDS = 20
#: Share of a tenant that is evicted when Redis itself is full.
_RELIEF = 0.05


class RedisEntries:
    """Keeps entries in the Redis at `url`; connects when first used, so that a server may come later.

    `sealed` tells that an `EncryptedStore` stands in front; values of the other kind do not open.
    """

    reads_are_immediate = False

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        max_bytes: int,
        entry_max_bytes: int,
        grace_seconds: float,
        sealed: bool = False,
        pool_size: int = POOL_SIZE,
        pool_wait_seconds: float = POOL_WAIT_SECONDS,
        socket_seconds: float = SOCKET_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.counters = StoreCounters()
        self.link = RedisLink(
            url,
            counters=self.counters,
            pool_size=pool_size,
            pool_wait_seconds=pool_wait_seconds,
            socket_seconds=socket_seconds,
            connect_seconds=connect_seconds,
        )
        self._clock = clock
        self._frame_version = SEALED if sealed else PLAIN
        self._max_bytes = max_bytes
        self._entry_max_bytes = min(entry_max_bytes, max_bytes // 4) + (SEAL_BYTES if sealed else 0)
        self._grace_seconds = grace_seconds
        self._keys: dict[str, TenantKeys] = {}
        #: tenant id -> monotonic time of its last registration
        self._registered: dict[str, float] = {}
        self._policy_checked_at: float | None = None
        #: tenant id -> cache key -> [uses since last written down, time of the last]
        self._uses: dict[str, dict[bytes, list[float]]] = {}
        self._uses_written_at = clock.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._relief: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up: one round trip."""
        keys = self._keys_of(tenant.id)
        name = keys.entry(key)

        async def work(lane: Lane) -> tuple[Mark, bytes | None]:
            # The mark first: it may be older than the entry, never younger.
            mark, frame = await lane.ask(("HGET", keys.log, "mark"), ("GET", name))
            return (int(mark) if mark is not None else await self._first_mark(lane, keys)), frame

        mark, frame = await self._run(keys, work)
        if frame is None:
            return Lookup(None, mark)
        try:
            entry = open_frame(key, *split_frame(frame), self._frame_version)
            stale_at = outdated_since(frame)
        except Corrupt:
            self.counters.corrupt += 1
            await self._remove_corrupt(keys, key, frame)
            return Lookup(None, mark)
        now = self._clock.now()
        if kept_until(entry.meta, self._grace_seconds) <= now:
            return Lookup(None, mark)
        self._note_use(tenant.id, key, now)
        if stale_at is not None:
            # Sealed metadata has to stay as it was sealed; `EncryptedStore` ends the lifetime of what it has opened.
            since = min(stale_at, now)
            meta = outdated(entry.meta, since) if self._frame_version == PLAIN else entry.meta
            entry = Entry(key, meta, entry.body, since)
        return Lookup(entry, mark)

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store an entry: two round trips."""
        if len(entry.body) > self._entry_max_bytes:
            return Put.TOO_LARGE
        keys = self._keys_of(tenant.id)
        now = self._clock.now()
        frame = pack_head(entry.key, entry.meta, entry.body, self._frame_version) + entry.body
        dead_at = kept_until(entry.meta, self._grace_seconds)
        framed = Framed(entry, frame, describe(entry.meta, dead_at, len(entry.body), len(frame)))
        await self._register(tenant.id)
        try:
            return await self._run(keys, lambda lane: writes.put(lane, keys, framed, since, now))
        except StoreFull:
            self._start_relief()
            raise

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches and return how many."""
        return (await self.withdraw(tenant, selector)).entries

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Remove what matches or mark it stale, and tell what was met."""
        keys = self._keys_of(tenant.id)
        now = self._clock.now()

        async def work(lane: Lane) -> None:
            await writes.log_invalidation(lane, keys, selector, now)

        try:
            await self._register(tenant.id)
            await self._run(keys, work)
        except StoreFull:
            # What is to be removed is not known yet, but a full Redis must not stand in the way of a purge.
            await self._relieve()
            await self._register(tenant.id)
            await self._run(keys, work)

        async def find(lane: Lane) -> dict[bytes, CatalogRow]:
            return {key: row async for key, row in queries.find(lane, keys, selector)}

        found = await self._run(keys, find)
        if soft:
            await self._mark_stale(keys, found, now)
            return queries.reach_of(found.values(), now)
        gone = await self._remove(keys, {key: row.stored_at for key, row in found.items()})
        return queries.reach_of([row for row in gone if row is not None], now)

    async def _mark_stale(self, keys: TenantKeys, found: dict[bytes, CatalogRow], now: float) -> None:
        names = list(found)
        for start in range(0, len(names), REMOVED_PER_TRANSACTION):
            some = {name: found[name] for name in names[start : start + REMOVED_PER_TRANSACTION]}
            try:
                await self._run(keys, lambda lane, some=some: writes.mark_stale(lane, keys, some, now))  # type: ignore[misc]
            except StoreFull:
                # No room for a mark of sixteen bytes: an entry that is gone is a miss, one that is unmarked a lie.
                await self._remove(keys, {name: row.stored_at for name, row in some.items()})

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""
        keys = self._keys_of(tenant.id)
        now = self._clock.now()
        return await self._run(keys, lambda lane: queries.survey(lane, keys, selector, now))

    async def which(self, tenant: Tenant, selector: Selector, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` whose entries a selector means now."""
        names = self._keys_of(tenant.id)
        now = self._clock.now()
        return await self._run(names, lambda lane: queries.which(lane, names, selector, keys, now))

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""
        return (await self.survey(tenant, selector)).entries

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first."""
        keys = self._keys_of(tenant.id)
        await self._write_uses()

        async def work(lane: Lane) -> Page:
            return await queries.list_page(
                lane, keys, selector, cursor=cursor, limit=limit, now=self._clock.now(), version=self._frame_version
            )

        return await self._run(keys, work)

    async def stats(self, tenant: Tenant) -> StoreStats:
        """Return totals. Entries that Redis dropped by itself count until a sweep has missed them."""
        keys = self._keys_of(tenant.id)
        return await self._run(keys, lambda lane: queries.read_stats(lane, keys))

    async def sweep(self) -> int:
        """Delete what is past lifetime and grace, forget what Redis evicted, and evict down to the size bound."""
        await self._write_uses()
        swept = 0
        tenants = await self._list_tenants()
        for tenant_id in tenants:
            keys = self._keys_of(tenant_id)
            swept += await self._remove_dead(keys)
            await self._forget_evicted(keys)
            await self._run(keys, lambda lane, keys=keys: self._tidy(lane, keys))  # type: ignore[misc]
        self.counters.swept += swept
        evicted = await self._evict(tenants)
        self.counters.evicted += evicted
        return swept + evicted

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless a read works now."""

        async def work(lane: Lane) -> None:
            await lane.ask(("EXISTS", TENANTS_KEY))

        if self._closed:
            raise StoreUnavailable("the cache store is closed")
        await self.link.run(TENANTS_KEY, work)

    async def close(self) -> None:
        """Write the uses down and close all connections."""
        if self._closed:
            return
        with suppress(StoreUnavailable):
            await self._write_uses()
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.close()

    async def _run(self, keys: TenantKeys, work: Callable[[Lane], Awaitable[T]]) -> T:
        if self._closed:
            raise StoreUnavailable("the cache store is closed")

        async def checked(lane: Lane) -> T:
            checked_at = self._policy_checked_at
            if checked_at is None or self._clock.monotonic() - checked_at > _CHECK_SECONDS:
                await self._check_policy(lane)
            return await work(lane)

        return await self.link.run(keys.log, checked)

    async def _check_policy(self, lane: Lane) -> None:
        (told,) = await lane.ask_each(("INFO", "memory"))
        if not isinstance(told, bytes):
            # An access list without @dangerous forbids INFO; the operator's word has to do.
            log.warning("redis eviction policy not checked", reason=str(told))
        else:
            facts = dict(line.split(":", 1) for line in told.decode().split() if ":" in line)
            policy = facts.get("maxmemory_policy", "")
            if policy.startswith("allkeys") and facts.get("maxmemory", "0") != "0":
                raise UnsuitableStore(
                    f"Redis has maxmemory-policy {policy}, under which it may drop the indexes that invalidation "
                    "needs; set it to volatile-lru or noeviction"
                )
        self._policy_checked_at = self._clock.monotonic()

    async def _first_mark(self, lane: Lane, keys: TenantKeys) -> Mark:
        try:
            return await writes.ensure_mark(lane, keys)
        except OutOfMemoryError:
            # Nothing can be stored now anyway; a fill from mark 0 is refused.
            return 0

    def _keys_of(self, tenant_id: str) -> TenantKeys:
        keys = self._keys.get(tenant_id)
        if keys is None:
            keys = self._keys[tenant_id] = TenantKeys(tenant_id)
        return keys

    async def _register(self, tenant_id: str) -> None:
        """Make the tenant known to sweeps; again now and then, in case Redis lost its memory."""
        now = self._clock.monotonic()
        registered_at = self._registered.get(tenant_id)
        if registered_at is None or now - registered_at > _CHECK_SECONDS:
            try:
                await self.link.run(TENANTS_KEY, lambda lane: lane.ask(("SADD", TENANTS_KEY, tenant_id)))
            except StoreFull:
                self._start_relief()
                raise
            self._registered[tenant_id] = now

    async def _list_tenants(self) -> list[str]:
        (names,) = await self.link.run(TENANTS_KEY, lambda lane: lane.ask(("SMEMBERS", TENANTS_KEY)))
        return sorted(name.decode() for name in names)

    def _note_use(self, tenant_id: str, key: bytes, now: float) -> None:
        uses = self._uses.setdefault(tenant_id, {})
        use = uses.get(key)
        if use is None:
            uses[key] = [1, now]
        else:
            use[0] += 1
            use[1] = now
        if self._clock.monotonic() - self._uses_written_at > _USES_SECONDS:
            self._uses_written_at = self._clock.monotonic()
            self._start(self._write_uses_quietly())

    async def _write_uses_quietly(self) -> None:
        with suppress(StoreUnavailable):
            await self._write_uses()

    async def _write_uses(self) -> None:
        taken, self._uses = self._uses, {}
        for tenant_id, uses in taken.items():
            keys, names = self._keys_of(tenant_id), list(uses)
            for start in range(0, len(names), _USES_AT_ONCE):
                some = {name: uses[name] for name in names[start : start + _USES_AT_ONCE]}
                await self._run(keys, lambda lane, keys=keys, some=some: writes.record_uses(lane, keys, some))  # type: ignore[misc]

    async def _remove(self, keys: TenantKeys, found: dict[bytes, float | None]) -> list[CatalogRow | None]:
        """Remove in short transactions; return the rows that were there."""
        gone: list[CatalogRow | None] = []
        names = list(found)
        for start in range(0, len(names), REMOVED_PER_TRANSACTION):
            some = {name: found[name] for name in names[start : start + REMOVED_PER_TRANSACTION]}
            gone += await self._run(keys, lambda lane, some=some: writes.remove_even_if_full(lane, keys, some))  # type: ignore[misc]
        return gone

    async def _remove_corrupt(self, keys: TenantKeys, key: bytes, frame: bytes) -> None:
        async def work(lane: Lane) -> None:
            (now_there,) = await lane.ask(("GET", keys.entry(key)))
            if now_there == frame:
                await writes.remove(lane, keys, {key: None})

        await self._run(keys, work)

    async def _remove_dead(self, keys: TenantKeys) -> int:
        now = self._clock.now()
        swept = 0

        async def work(lane: Lane) -> int:
            (dead,) = await lane.ask(("ZRANGEBYSCORE", keys.by_death, "-inf", now, "LIMIT", 0, REMOVED_PER_TRANSACTION))
            if dead:
                await lane.ask(("ZREM", keys.by_death, *dead))
                await writes.remove(lane, keys, dict.fromkeys(dead))
            return len(dead)

        while removed := await self._run(keys, work):
            swept += removed
        return swept

    async def _forget_evicted(self, keys: TenantKeys) -> None:
        """Take entries that Redis evicted out of the indexes, as long as a sample shows many."""

        async def work(lane: Lane) -> int:
            (sample,) = await lane.ask(("HRANDFIELD", keys.catalog, _SAMPLE))
            if not sample:
                return 0
            present = await lane.ask(*(("EXISTS", keys.entry(key)) for key in sample))
            missing = [key for key, there in zip(sample, present, strict=True) if not there]
            for start in range(0, len(missing), REMOVED_PER_TRANSACTION):
                await writes.remove(lane, keys, dict.fromkeys(missing[start : start + REMOVED_PER_TRANSACTION]))
            return len(missing)

        for _ in range(_SAMPLE_ROUNDS):
            if await self._run(keys, work) <= _SAMPLE // 10:
                return

    async def _tidy(self, lane: Lane, keys: TenantKeys) -> None:
        await writes.prune_log(lane, keys, self._clock.now())
        stats = await queries.read_stats(lane, keys)
        (names,) = await lane.ask(("SMEMBERS", keys.namespaces))
        empty = [name for name in names if name.decode() not in stats.namespaces]
        if empty:
            await lane.ask(("SREM", keys.namespaces, *empty))

    async def _evict(self, tenants: list[str]) -> int:
        """Evict least recently used entries, always of the tenant that holds most, until all fit the bound."""
        sizes = {tenant_id: await self._memory_bytes(tenant_id) for tenant_id in tenants}
        evicted = 0
        while sizes and sum(sizes.values()) > self._max_bytes:
            largest = max(sizes, key=lambda tenant_id: sizes[tenant_id])
            excess = sum(sizes.values()) - self._max_bytes
            rows, freed = await self._evict_some(self._keys_of(largest), excess)
            if not rows:
                break
            evicted += rows
            sizes[largest] -= freed
        return evicted

    async def _evict_some(self, keys: TenantKeys, excess: int) -> tuple[int, int]:
        """Evict up to one transaction's worth of a tenant; return entries and bytes."""

        async def work(lane: Lane) -> tuple[int, int]:
            (oldest,) = await lane.ask(("ZRANGE", keys.by_use, 0, REMOVED_PER_TRANSACTION // 4 - 1))
            if not oldest:
                return 0, 0
            chosen: dict[bytes, float | None] = {}
            freed = 0
            (packed,) = await lane.ask(("HMGET", keys.catalog, *oldest))
            for key, row in zip(oldest, map(decode_row, packed), strict=True):
                chosen[key] = None
                freed += row.memory_bytes if row is not None else 0
                if freed >= excess:
                    break
            await writes.remove_even_if_full(lane, keys, chosen)
            return len(chosen), freed

        return await self._run(keys, work)

    async def _memory_bytes(self, tenant_id: str) -> int:
        keys = self._keys_of(tenant_id)
        (size,) = await self._run(keys, lambda lane: lane.ask(("HGET", keys.totals, "memory_bytes")))
        return int(size or 0)

    def _start_relief(self) -> None:
        if self._relief is None or self._relief.done():
            self._relief = self._start(self._relieve_quietly())

    async def _relieve_quietly(self) -> None:
        with suppress(StoreUnavailable):
            await self._relieve()

    async def _relieve(self) -> None:
        """Redis is full below our own bound: evict a share of the tenant that holds most."""
        tenants = await self._list_tenants()
        sizes = {tenant_id: await self._memory_bytes(tenant_id) for tenant_id in tenants}
        if not sizes:
            return
        largest = max(sizes, key=lambda tenant_id: sizes[tenant_id])
        wanted = max(64 * 1024, int(sizes[largest] * _RELIEF))
        while wanted > 0:
            rows, freed = await self._evict_some(self._keys_of(largest), wanted)
            if not rows:
                return
            self.counters.evicted += rows
            wanted -= freed

    def _start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
