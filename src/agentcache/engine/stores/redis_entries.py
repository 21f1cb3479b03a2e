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

from redis.exceptions import OutOfMemoryError

from agentcache.engine.entries import Entry, Lookup, Mark, Reach, Selector, Tenant, earlier, outdated
from agentcache.engine.freshness import kept_until
from agentcache.engine.stores import redis_queries as queries
from agentcache.engine.stores import redis_upkeep as upkeep
from agentcache.engine.stores import redis_writes as writes
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.framing import (
    PLAIN,
    SEAL_BYTES,
    SEALED,
    Corrupt,
    open_frame,
    pack_head,
    read_trailers,
    split_frame,
)
from agentcache.engine.stores.invalidations import Invalidation, judge
from agentcache.engine.stores.port import Page, Put, StoreFull, StoreStats, StoreUnavailable, UnsuitableStore
from agentcache.engine.stores.redis_keys import TENANTS_KEY, TenantKeys, describe
from agentcache.engine.stores.redis_link import (
    CONNECT_SECONDS,
    POOL_SIZE,
    POOL_WAIT_SECONDS,
    SOCKET_SECONDS,
    Lane,
    RedisLink,
)
from agentcache.engine.stores.redis_log import (
    Logged,
    ensure_mark,
    lease_one,
    log_invalidation,
    pending_in,
    read_invalidations,
    read_pending,
)
from agentcache.engine.stores.redis_reach import survey, survey_logged
from agentcache.engine.stores.redis_writes import Framed
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")

#: Uses are kept in memory and written down this often.
_USES_SECONDS = 2.0
_USES_AT_ONCE = 500
#: The policy and the tenant's registration are looked at again after this long.
_CHECK_SECONDS = 60.0
#: So long an invalidation waits for the removal of its rows, which for a few is enough. What remains goes on without it:
#: until it is done, look-ups and totals cost a little more.
_WORK_SECONDS = 0.02
#: Each holds a connection of the pool.
_WORKED_OFF_AT_ONCE = 4
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
        #: tenant id -> (marks, what they are) of the pending invalidations that a look-up saw last.
        self._pending: dict[str, tuple[bytes, Sequence[Invalidation]]] = {}
        self._working = asyncio.Semaphore(_WORKED_OFF_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._relief: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up: one round trip."""
        keys = self._keys_of(tenant.id)
        name = keys.entry(key)

        async def work(lane: Lane) -> tuple[Mark, Sequence[Invalidation], bytes | None]:
            # One command, so that all of it is of one moment.
            ((marks, frame),) = await lane.ask(("MGET", keys.marks, name))
            if marks is None:
                return await self._first_mark(lane, keys), (), frame
            mark, _, pending = marks.partition(b" ")
            return int(mark), await self._pending_of(lane, keys, marks) if pending and frame else (), frame

        mark, pending, frame = await self._run(keys, work)
        if frame is None:
            return Lookup(None, mark)
        try:
            head, body, trailers = split_frame(frame)
            entry = open_frame(key, head, body, self._frame_version)
            its_mark, stale_at = read_trailers(trailers)
        except Corrupt:
            self.counters.corrupt += 1
            await self._remove_corrupt(keys, key, frame)
            return Lookup(None, mark)
        now = self._clock.now()
        if pending:
            verdict = judge(pending, its_mark, key, entry.meta)
            if verdict.is_gone:
                return Lookup(None, mark)
            stale_at = earlier(stale_at, verdict.stale_at)
        if kept_until(entry.meta, self._grace_seconds) <= now:
            return Lookup(None, mark)
        self._note_use(tenant.id, key, now)
        if stale_at is not None:
            # Sealed metadata has to stay as it was sealed; `EncryptedStore` ends the lifetime of what it has opened.
            since = min(stale_at, now)
            meta = outdated(entry.meta, since) if self._frame_version == PLAIN else entry.meta
            entry = Entry(key, meta, entry.body, since)
        return Lookup(entry, mark)

    async def _pending_of(self, lane: Lane, keys: TenantKeys, marks: bytes) -> Sequence[Invalidation]:
        """Return pending invalidations; they are read once, for no two have the same marks."""
        known = self._pending.get(keys.tenant_id)
        if known is None or known[0] != marks:
            known = self._pending[keys.tenant_id] = (marks, await read_invalidations(lane, keys, pending_in(marks)))
        return known[1]

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store an entry: two round trips."""
        if len(entry.body) > self._entry_max_bytes:
            return Put.TOO_LARGE
        keys = self._keys_of(tenant.id)
        now = self._clock.now()
        head = pack_head(entry.key, entry.meta, entry.body, self._frame_version)
        dead_at = kept_until(entry.meta, self._grace_seconds)
        framed = Framed(entry, head)
        row = describe(entry.meta, dead_at, len(entry.body), len(head) + len(entry.body))
        await self._register(tenant.id)
        try:
            return await self._run(keys, lambda lane: writes.put(lane, keys, framed, row, since, now))
        except StoreFull:
            self._start_relief()
            raise

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches and return how many."""
        return (await self.withdraw(tenant, selector)).entries

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Invalidate what matches: final once the log has it, whatever time the rows take."""
        keys = self._keys_of(tenant.id)
        now = self._clock.now()

        async def log_it(lane: Lane) -> Logged:
            return await log_invalidation(lane, keys, selector, now, is_soft=soft)

        try:
            await self._register(tenant.id)
            logged = await self._run(keys, log_it)
        except StoreFull:
            # What is to be removed is not known yet, but a full Redis must not stand in the way of a purge.
            await self._relieve()
            await self._register(tenant.id)
            logged = await self._run(keys, log_it)
        try:
            reach = await self._run(keys, lambda lane: survey_logged(lane, keys, logged, now))
        finally:
            # Also if nobody waits any more: it is final.
            working = self._start(self._work_off(keys, logged.one))
        await asyncio.wait({working}, timeout=_WORK_SECONDS)
        return reach

    async def _work_off(self, keys: TenantKeys, one: Invalidation) -> None:
        try:
            async with self._working:
                await self._run(keys, lambda lane: upkeep.work_off(lane, keys, one, self._clock.now()))
        except StoreUnavailable as error:
            # Nothing is lost: the log has it, look-ups obey it, and a sweep goes on with it.
            log.warning("invalidated rows not removed yet", reason=error.message)

    async def _work_off_what_is_left(self, keys: TenantKeys) -> None:
        """Finish invalidations whose worker ended before they did."""
        while one := await self._run(keys, lambda lane: lease_one(lane, keys)):
            await self._run(keys, lambda lane, one=one: upkeep.work_off(lane, keys, one, self._clock.now()))  # type: ignore[misc]

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""
        keys = self._keys_of(tenant.id)
        now = self._clock.now()
        return await self._run(keys, lambda lane: survey(lane, keys, selector, now))

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
        now = self._clock.now()

        async def work(lane: Lane) -> StoreStats:
            if not any(not one.is_soft for one in await read_pending(lane, keys)):
                return await queries.read_stats(lane, keys)
            reach = await survey(lane, keys, Selector(), now)
            return StoreStats(reach.entries, reach.body_bytes, reach.namespaces)

        return await self._run(keys, work)

    async def sweep(self) -> int:
        """Delete what is past lifetime and grace, forget what Redis evicted, and evict down to the size bound."""
        await self._write_uses()
        swept = 0
        tenants = await self._list_tenants()
        for tenant_id in tenants:
            keys = self._keys_of(tenant_id)
            await self._work_off_what_is_left(keys)
            now = self._clock.now()
            while dead := await self._run(keys, lambda lane, keys=keys, now=now: upkeep.remove_dead(lane, keys, now)):  # type: ignore[misc]
                swept += dead
            await self._run(keys, lambda lane, keys=keys: upkeep.forget_evicted(lane, keys))  # type: ignore[misc]
            await self._run(keys, lambda lane, keys=keys, now=now: upkeep.tidy(lane, keys, now))  # type: ignore[misc]
            # Sums take room too. Without them rows are counted, and the next sweep tries again.
            with suppress(StoreFull):
                await self._run(keys, lambda lane, keys=keys, now=now: upkeep.mend_sums(lane, keys, now))  # type: ignore[misc]
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
        # How often entries were used orders what is evicted; it is not worth a stop that fails.
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
            return await ensure_mark(lane, keys)
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
        # As at the end: uses that are lost change what is evicted first, and nothing else.
        with suppress(StoreUnavailable):
            await self._write_uses()

    async def _write_uses(self) -> None:
        taken, self._uses = self._uses, {}
        for tenant_id, uses in taken.items():
            keys, names = self._keys_of(tenant_id), list(uses)
            for start in range(0, len(names), _USES_AT_ONCE):
                some = {name: uses[name] for name in names[start : start + _USES_AT_ONCE]}
                await self._run(keys, lambda lane, keys=keys, some=some: writes.record_uses(lane, keys, some))  # type: ignore[misc]

    async def _remove_corrupt(self, keys: TenantKeys, key: bytes, frame: bytes) -> None:
        async def work(lane: Lane) -> None:
            (now_there,) = await lane.ask(("GET", keys.entry(key)))
            if now_there == frame:
                await writes.remove(lane, keys, [key])

        await self._run(keys, work)

    async def _evict(self, tenants: list[str]) -> int:
        """Evict least recently used entries, always of the tenant that holds most, until all fit the bound."""
        sizes = {tenant_id: await self._memory_bytes(tenant_id) for tenant_id in tenants}
        evicted = 0
        while sizes and sum(sizes.values()) > self._max_bytes:
            largest = max(sizes, key=lambda tenant_id: sizes[tenant_id])
            excess = sum(sizes.values()) - self._max_bytes
            rows, freed = await self._evict_some(largest, excess)
            if not rows:
                break
            evicted += rows
            sizes[largest] -= freed
        return evicted

    async def _evict_some(self, tenant_id: str, excess: int) -> tuple[int, int]:
        keys = self._keys_of(tenant_id)
        return await self._run(keys, lambda lane: upkeep.evict_some(lane, keys, excess))

    async def _memory_bytes(self, tenant_id: str) -> int:
        keys = self._keys_of(tenant_id)
        (size,) = await self._run(keys, lambda lane: lane.ask(("HGET", keys.totals, "memory_bytes")))
        return int(size or 0)

    def _start_relief(self) -> None:
        if self._relief is None or self._relief.done():
            self._relief = self._start(self._relieve_quietly())

    async def _relieve_quietly(self) -> None:
        # The write that found no room has said so, and the next one that finds none begins this anew.
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
            rows, freed = await self._evict_some(largest, wanted)
            if not rows:
                return
            self.counters.evicted += rows
            wanted -= freed

    def _start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
