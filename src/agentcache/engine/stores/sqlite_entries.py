"""Entries in one SQLite file that any number of worker processes share.

A look-up runs on the event loop itself: it is a single b-tree descent of about ten microseconds, less than handing
it to a thread would cost. Writes go through one thread, scans through another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agentcache.engine.entries import Entry, Lookup, Mark, Selector, Tenant
from agentcache.engine.freshness import kept_until
from agentcache.engine.stores import sqlite_queries as queries
from agentcache.engine.stores import sqlite_writes as writes
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.framing import PLAIN, SEAL_BYTES, SEALED, Corrupt, open_frame, pack_head
from agentcache.engine.stores.port import Page, Put, StoreStats, StoreUnavailable
from agentcache.engine.stores.recent import Recent, RecentLookups, SharedCounters
from agentcache.engine.stores.sqlite_file import CacheFile, Link, one_row
from agentcache.engine.stores.sqlite_writer import Writer
from agentcache.engine.stores.sqlite_writes import Row, TenantRow
from agentcache.kit.clock import Clock

T = TypeVar("T")

#: Mark and entry come from one statement, so from one snapshot of the file.
_LOOK_UP = (
    "SELECT t.mark, e.head, e.body FROM tenants t "
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
        self.file = CacheFile(path, self.counters)
        self._reader = Link(self.file, busy_ms=_READ_BUSY_MS, cache_bytes=_READ_CACHE_BYTES)
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
        if lookup.entry is not None:
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
            if not rows:
                raise apsw.CorruptError("the row of a tenant is gone")
            mark, head, body = rows[0]
        except apsw.Error as error:
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
        if dead_at <= now:
            return Lookup(None, mark), row_id, dead_at
        self._note_use(row_id, now)
        return Lookup(entry, mark), row_id, dead_at

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
        now = self._clock.now()
        owner = await self.writer.submit(
            lambda connection: writes.log_invalidation(connection, tenant.id, selector, now)
        )
        found = await self._scan(lambda connection: queries.find_rows(connection, owner, selector))
        removed = start = 0
        while start < len(found):
            rest = found[start:] if start else found
            alive, tried = await self.writer.submit(
                lambda connection, rest=rest: writes.remove_slice(connection, owner, rest, now)  # type: ignore[misc]
            )
            removed += alive
            start += tried
        return removed

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> int:
            owner = writes.find_tenant(connection, tenant.id)
            return queries.count_rows(connection, owner, selector, now) if owner else 0

        return await self._scan(run)

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first."""
        now = self._clock.now()

        def run(connection: apsw.Connection) -> Page:
            owner = writes.find_tenant(connection, tenant.id)
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

        def run(connection: apsw.Connection) -> StoreStats:
            owner = writes.find_tenant(connection, tenant.id)
            return queries.read_stats(connection, owner) if owner else StoreStats(0, 0, {})

        return await self._scan(run)

    async def sweep(self) -> int:
        """Delete what is past lifetime and grace and evict down to the size bound, in short slices."""
        removed = 0
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
        found = writes.find_tenant(self._reader.connection(), tenant_id)
        if found is not None:
            self._tenants[tenant_id] = found
        return found

    def _reading_failed(self, error: apsw.Error) -> StoreUnavailable:
        self._cursor = None
        return self._reader.report(error)

    async def _scan(self, run: Callable[[apsw.Connection], T]) -> T:
        def guarded() -> T:
            try:
                return run(self._scanner.connection())
            except apsw.Error as error:
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
        writes.prune_log(connection, self._clock.now())
        writes.drop_empty_scopes(connection)
