"""Entries in one SQLite file that any number of worker processes share.

A look-up runs on the event loop itself: it is a single b-tree descent of about ten microseconds, less than handing
it to a thread would cost. Writes go through one thread, scans through another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agentcache.engine.entries import Entry, Lookup, Mark, Reach, Selector, Tenant, earlier, outdated
from agentcache.engine.freshness import kept_until
from agentcache.engine.stores import sqlite_queries as queries
from agentcache.engine.stores import sqlite_writes as writes
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.framing import PLAIN, SEAL_BYTES, SEALED, Corrupt, open_frame, pack_head
from agentcache.engine.stores.invalidations import Invalidation, judge
from agentcache.engine.stores.port import Page, Put, StoreStats, StoreUnavailable
from agentcache.engine.stores.recent import Recent, RecentLookups, SharedCounters
from agentcache.engine.stores.sqlite_file import CacheFile, Link, one_row
from agentcache.engine.stores.sqlite_invalidations import (
    end_invalidation,
    log_invalidation,
    pending_invalidations,
    prune_log,
    tenants_with_pending,
)
from agentcache.engine.stores.sqlite_reach import FEW_ROWS, Place, find_few, find_slice, survey, which
from agentcache.engine.stores.sqlite_tenants import TenantRow, find_tenant
from agentcache.engine.stores.sqlite_upgrade import upgrade
from agentcache.engine.stores.sqlite_writer import Writer
from agentcache.engine.stores.sqlite_writes import Row
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

T = TypeVar("T")
log = get_logger(__name__)

#: Mark and entry come from one statement, so from one snapshot of the file.
_LOOK_UP = (
    "SELECT t.mark, t.pending, e.head, e.body, e.mark, e.stale_at FROM tenants t "
    "LEFT JOIN entries e ON e.id = ?1 AND e.key = ?2 AND e.tenant = t.number WHERE t.number = ?3"
)
#: The event loop never waits longer than this for a lock (only recovery after a crash takes one from readers).
_READ_BUSY_MS = 5
_SCAN_BUSY_MS = 1000
_WRITE_BUSY_MS = 2000
#: Holds the inner pages of a b-tree of several million entries.
_READ_CACHE_BYTES = 16 << 20
_SCAN_CACHE_BYTES = 4 << 20
_WRITE_CACHE_BYTES = 16 << 20
#: Uses are kept in memory and so many of them written down each second: a use costs the writer 15 us, the look-up
#: 10. Beyond the bound the use of yet another entry is not noted; eviction needs no better than that.
_USES_PER_SLICE = 2000
_USES_MAX = 100_000
#: So long an invalidation waits for the removal of its rows, which for a few is enough. What remains goes on without it:
#: until it is done, look-ups and totals cost a little more.
_WORK_SECONDS = 0.02
#: Rows that are found at once, and then removed in slices.
_FOUND_AT_ONCE = 2_000
#: Eviction goes a little below the bound, so that not every write has to evict.
_SLACK = 0.005


class SqliteEntries:
    """Keeps entries in `path`. Call `open` once before use, in each worker process.

    `sealed` tells that an `EncryptedStore` stands in front; rows of the other kind do not open.
    """

    reads_are_immediate = True

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        max_bytes: int,
        entry_max_bytes: int,
        grace_seconds: float,
        sealed: bool = False,
    ) -> None:
        self.counters = StoreCounters()
        self._clock = clock
        self._frame_version = SEALED if sealed else PLAIN
        self._max_bytes = max_bytes
        self._entry_max_bytes = min(entry_max_bytes, max_bytes // 4) + (SEAL_BYTES if sealed else 0)
        self._grace_seconds = grace_seconds
        self.file = CacheFile(path, self.counters, upgrade)
        self._reader = Link(self.file, busy_ms=_READ_BUSY_MS, cache_bytes=_READ_CACHE_BYTES, keeps_plans=True)
        self._scanner = Link(self.file, busy_ms=_SCAN_BUSY_MS, cache_bytes=_SCAN_CACHE_BYTES)
        self.writer = Writer(
            Link(self.file, busy_ms=_WRITE_BUSY_MS, cache_bytes=_WRITE_CACHE_BYTES),
            make_room=self._make_room,
            each_second=self._flush_uses_job,
        )
        self._scans = ThreadPoolExecutor(1, thread_name_prefix="cache-scan")
        self._cursor: apsw.Cursor | None = None
        self._shared: SharedCounters | None = None
        self._recent = RecentLookups()
        self._tenants: dict[str, TenantRow] = {}
        #: (tenant, mark, how many), and the pending invalidations that a look-up saw last.
        self._pending: tuple[tuple[int, ...], list[Invalidation]] = ((), [])
        self._tasks: set[asyncio.Task[None]] = set()
        self._base: Mark = 0
        #: row id -> [uses since last written down, time of the last]
        self._uses: dict[int, list[float]] = {}

    def open(self) -> None:
        """Check the SQLite library, create or verify the file, and start the writer.

        Raises `UnsuitableStore` with what to do about it. A damaged file is set aside and replaced by an empty one.
        """
        self.file.open()
        self._shared = self.file.shared
        self.writer.start()

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up."""
        shared = self._shared
        if shared is None:
            raise StoreUnavailable("the cache store is closed")
        epoch, generation = shared.epoch, shared.generation()
        recent = self._recent.find(key, tenant.id, epoch, generation)
        if recent is not None:
            now = self._clock.now()
            if recent.dead_at <= now:
                return Lookup(None, recent.lookup.mark)
            self._note_use(recent.row_id, now)
            return recent.lookup
        lookup, row_id, dead_at = self._read(tenant, key)
        if lookup.entry is not None and lookup.entry.stale_at is None:
            # One that is marked stale is judged at each look-up, so that no clock that goes back makes it fresh.
            self._recent.keep(key, Recent(epoch, generation, tenant.id, row_id, dead_at, lookup))
        return lookup

    def is_current(self, tenant: Tenant, entry: Entry) -> bool:
        """Say whether a look-up would return this very entry; counts as a use then. False where only a look-up tells."""
        shared = self._shared
        if shared is None:
            return False
        recent = self._recent.find(entry.key, tenant.id, shared.epoch, shared.generation())
        if recent is None or recent.lookup.entry is not entry:
            return False
        now = self._clock.now()
        if recent.dead_at <= now:
            return False
        self._note_use(recent.row_id, now)
        return True

    def _read(self, tenant: Tenant, key: bytes) -> tuple[Lookup, int, float]:
        """Look a key up in the file; return with it the row and when the entry dies."""
        try:
            cursor = self._cursor
            if cursor is None or not self._reader.is_current():
                cursor = self._open_reader()
            owner = self._tenants.get(tenant.id) or self._find_tenant(tenant.id)
            if owner is None:
                return Lookup(None, self._base), 0, 0.0
            row_id = owner.row_id(key)
            # To its end: a statement left in the middle would hold its snapshot, in which later tenants do not exist.
            rows: list[Any] = cursor.execute(_LOOK_UP, (row_id, key, owner.number)).fetchall()
            pending: list[Invalidation] = []
            if rows and rows[0][1]:
                rows, pending = self._read_with_pending(cursor, owner, (row_id, key, owner.number))
            if not rows:
                raise apsw.CorruptError("the row of a tenant is gone")
            mark, _, head, body, row_mark, stale_at = rows[0]
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self._reading_failed(error) from error
        if head is None:
            return Lookup(None, mark), row_id, 0.0
        try:
            entry = open_frame(key, head, body, self._frame_version)
        except (Corrupt, TypeError):
            self.counters.corrupt += 1
            self.writer.post(lambda connection: writes.remove_corrupt(connection, row_id, self._frame_version))
            return Lookup(None, mark), row_id, 0.0
        now = self._clock.now()
        dead_at = kept_until(entry.meta, self._grace_seconds)
        if pending or stale_at is not None:
            verdict = judge(pending, row_mark, key, entry.meta)
            since = earlier(stale_at, verdict.stale_at)
            if verdict.is_gone:
                return Lookup(None, mark), row_id, 0.0
            if since is not None:
                entry = self._outdated(entry, min(since, now))
        if dead_at <= now:
            return Lookup(None, mark), row_id, dead_at
        self._note_use(row_id, now)
        return Lookup(entry, mark), row_id, dead_at

    def _read_with_pending(
        self, cursor: apsw.Cursor, owner: TenantRow, values: tuple[int, bytes, int]
    ) -> tuple[list[Any], list[Invalidation]]:
        """Look a row up together with the pending invalidations: from one snapshot, or one could end in between."""
        cursor.execute("BEGIN")
        try:
            rows: list[Any] = cursor.execute(_LOOK_UP, values).fetchall()
            if not rows or not rows[0][1]:
                return rows, []
            # With the same mark, fewer pending ones are others: no two lists have the same name.
            name = (owner.number, *rows[0][:2])
            if self._pending[0] != name:
                self._pending = (name, pending_invalidations(cursor.connection, owner))
            return rows, self._pending[1]
        finally:
            cursor.execute("COMMIT")

    def _outdated(self, entry: Entry, since: float) -> Entry:
        # Sealed metadata has to stay as it was sealed; `EncryptedStore` ends the lifetime of what it has opened.
        meta = outdated(entry.meta, since) if self._frame_version == PLAIN else entry.meta
        return Entry(entry.key, meta, entry.body, since)

    def _note_use(self, row_id: int, now: float) -> None:
        use = self._uses.get(row_id)
        if use is not None:
            use[0] += 1
            use[1] = now
        elif len(self._uses) < _USES_MAX:
            self._uses[row_id] = [1, now]

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store an entry."""
        if len(entry.body) > self._entry_max_bytes:
            return Put.TOO_LARGE
        head = pack_head(entry.key, entry.meta, entry.body, self._frame_version)
        row = Row(entry, head, kept_until(entry.meta, self._grace_seconds))
        now = self._clock.now()
        return await self.writer.submit(
            lambda connection: writes.put(connection, tenant, row, since, now), row.disk_bytes
        )

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches and return how many."""
        return (await self.withdraw(tenant, selector)).entries

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Invalidate what matches: final once the log has it, whatever time the rows take."""
        now = self._clock.now()

        def log_it(connection: apsw.Connection) -> tuple[TenantRow, Invalidation]:
            self.writer.note_removal()
            return log_invalidation(connection, tenant.id, selector, now, is_soft=soft)

        owner, logged = await self.writer.submit(log_it)
        reach = await self._scan(lambda connection: survey(connection, owner, selector, now, before=logged.mark))
        working = self._start(self._work_off(owner, logged, is_few=reach.entries <= FEW_ROWS))
        await asyncio.wait({working}, timeout=_WORK_SECONDS)
        return reach

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> Reach:
            owner = find_tenant(connection, tenant.id)
            return survey(connection, owner, selector, now) if owner else Reach()

        return await self._scan(run)

    async def which(self, tenant: Tenant, selector: Selector, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` whose entries a selector means now."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> set[bytes]:
            owner = find_tenant(connection, tenant.id)
            return which(connection, owner, selector, keys, now) if owner else set()

        return await self._scan(run)

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""
        return (await self.survey(tenant, selector)).entries

    async def _work_off(self, owner: TenantRow, one: Invalidation, *, is_few: bool) -> None:
        """Remove or mark the rows that an invalidation means, in short slices, and note that it is done."""
        place: Place | None = Place()
        while place is not None:
            found, place = await self._scan(partial(_find_rows, owner, one, place, is_few))
            while found:
                tried = await self.writer.submit(partial(_deal_with, owner, one, found))
                found = found[tried:]
        await self.writer.submit(lambda connection: end_invalidation(connection, owner, one.mark))

    async def _work_off_what_is_left(self) -> None:
        """Finish invalidations whose worker ended before they did."""
        now = self._clock.now()
        for owner in await self._scan(tenants_with_pending):
            for one in await self._scan(partial(_pending_of, owner)):
                reach = await self._scan(partial(_survey_rows, owner, one, now))
                await self._work_off(owner, one, is_few=reach.entries <= FEW_ROWS)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Nothing is lost: the log has it, look-ups obey it, and the next sweep goes on with it.
            log.warning("invalidated rows not removed yet", reason=str(task.exception()))

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> Page:
            owner = find_tenant(connection, tenant.id)
            if owner is None:
                return Page(())
            return queries.list_rows(
                connection,
                owner,
                selector,
                cursor=cursor,
                limit=limit,
                now=now,
                pending=self._pending_uses,
                version=self._frame_version,
            )

        return await self._scan(run)

    async def stats(self, tenant: Tenant) -> StoreStats:
        """Return totals."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> StoreStats:
            owner = find_tenant(connection, tenant.id)
            return queries.read_stats(connection, owner, now) if owner else StoreStats(0, 0, {})

        return await self._scan(run)

    async def sweep(self) -> int:
        """Delete what is past lifetime and grace and evict down to the size bound, in short slices."""
        removed = 0
        await self._work_off_what_is_left()
        while (job := self._flush_uses_job()) is not None:
            await self.writer.submit(job)
        more = True
        while more:
            dead, more = await self.writer.submit(lambda connection: writes.remove_dead(connection, self._clock.now()))
            removed += dead
        self.counters.swept += removed
        fits = False
        while not fits:
            evicted, fits = await self.writer.submit(lambda connection: writes.evict(connection, self._max_bytes))
            self.counters.evicted += evicted
            removed += evicted
        await self.writer.submit(self._tidy)
        return removed

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless a read works now."""
        try:
            if self._cursor is None or not self._reader.is_current():
                self._open_reader()
            self._reader.connection().execute("SELECT value FROM store").fetchone()
        except apsw.Error as error:
            raise self._reading_failed(error) from error

    async def close(self) -> None:
        """Write what is pending and close the file."""
        if self._shared is None:
            return
        self._shared = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.writer.stop)
        self._scans.submit(self._scanner.drop)
        await asyncio.to_thread(self._scans.shutdown)
        self._cursor = None
        self._recent.clear()
        self._reader.drop()
        self.file.close()

    def _open_reader(self) -> apsw.Cursor:
        self._cursor = None
        self._tenants.clear()
        connection = self._reader.connection()
        self._base = one_row(connection, "SELECT value FROM store WHERE name = 'base'")[0]
        self._cursor = connection.cursor()
        return self._cursor

    def _find_tenant(self, tenant_id: str) -> TenantRow | None:
        found = find_tenant(self._reader.connection(), tenant_id)
        if found is not None:
            self._tenants[tenant_id] = found
        return found

    def _reading_failed(self, error: apsw.Error | UnicodeDecodeError) -> StoreUnavailable:
        self._cursor = None
        return self._reader.report(error)

    async def _scan(self, run: Callable[[apsw.Connection], T]) -> T:
        def guarded() -> T:
            try:
                return run(self._scanner.connection())
            except (apsw.Error, UnicodeDecodeError) as error:
                raise self._scanner.report(error) from error

        try:
            return await asyncio.get_running_loop().run_in_executor(self._scans, guarded)
        except RuntimeError as error:
            raise StoreUnavailable("the cache store is closed") from error

    def _make_room(self, connection: apsw.Connection, weight: int) -> bool:
        """Evict for `weight` bytes more; runs on the writer thread inside a transaction."""
        if writes.total_bytes(connection) + weight <= self._max_bytes:
            return True
        job = self._flush_uses_job()
        if job is not None:
            job(connection)
        evicted, fits = writes.evict(connection, max(0, int(self._max_bytes * (1 - _SLACK)) - weight))
        self.counters.evicted += evicted
        return fits

    def _flush_uses_job(self) -> Callable[[apsw.Connection], None] | None:
        """Take a slice of the uses noted in memory and return the job that writes them down."""
        if not self._uses:
            return None
        taken: list[tuple[int, int, float]] = []
        while self._uses and len(taken) < _USES_PER_SLICE:
            row_id, (count, used_at) = self._uses.popitem()
            taken.append((row_id, int(count), used_at))
        return lambda connection: writes.record_uses(connection, taken)

    def _pending_uses(self, row_id: int) -> tuple[int, float]:
        count, used_at = self._uses.get(row_id, (0, 0.0))
        return int(count), used_at

    def _tidy(self, connection: apsw.Connection) -> None:
        prune_log(connection, self._clock.now())
        writes.drop_empty_scopes(connection)


def _find_rows(
    owner: TenantRow, one: Invalidation, place: Place, is_few: bool, connection: apsw.Connection
) -> tuple[list[int], Place | None]:
    selector = one.selector
    if is_few and not (selector.keys or selector.tags or selector.source is not None):
        return find_few(connection, owner, selector, one.mark), None
    return find_slice(connection, owner, selector, one.mark, place, _FOUND_AT_ONCE)


def _deal_with(owner: TenantRow, one: Invalidation, found: list[int], connection: apsw.Connection) -> int:
    if one.is_soft:
        return writes.mark_slice(connection, owner, found, one.mark, one.at)
    return writes.remove_slice(connection, owner, found, one.mark)


def _pending_of(owner: TenantRow, connection: apsw.Connection) -> list[Invalidation]:
    return pending_invalidations(connection, owner)


def _survey_rows(owner: TenantRow, one: Invalidation, now: float, connection: apsw.Connection) -> Reach:
    return survey(connection, owner, one.selector, now, before=one.mark)
