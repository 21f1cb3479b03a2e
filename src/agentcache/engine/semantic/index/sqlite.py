"""The embedded index: rows in one SQLite file, which all workers share, and copies of the vectors in each of them.

The file is the truth. A copy is brought up to date before each search (rows only ever come with greater ids), and what
the search finds is looked up in the file before it is told, so that removals, quarantines and expiry hold at once.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Vector
from agentcache.engine.semantic.index import sqlite_answers as answers
from agentcache.engine.semantic.index import sqlite_layout as layout
from agentcache.engine.semantic.index.port import (
    ALIKE_MAX,
    COSINE_MIN,
    NEIGHBOURS,
    IndexRow,
    IndexUnavailable,
    Neighbour,
    Quarantined,
    went_with,
)
from agentcache.engine.semantic.index.rows import Kept, Unreadable, pack, unpack, vector_of
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.sqlite_file import CacheFile, Link, all_rows
from agentcache.engine.stores.sqlite_writer import Writer
from agentcache.kit.clock import Clock

if TYPE_CHECKING:
    from agentcache.engine.semantic.index.arrays import PartitionArrays

T = TypeVar("T")
#: Of a copy: tenant, partition, embedder.
_Name = tuple[str, bytes, str]

#: Memory for copies of partitions in one process; beyond it the one used longest ago goes.
COPIES_BYTES: Final = 96 << 20
PARTITION_ROWS_MAX: Final = 100_000
_SEARCH_THREADS: Final = 2
_HOUSEKEEPING_SECONDS: Final = 5
_ROWS_PER_SLICE: Final = 1000
_READ_BUSY_MS, _SEARCH_BUSY_MS, _WRITE_BUSY_MS = 5, 1000, 2000
_READ_CACHE_BYTES: Final = 4 << 20

#: Up to so many rows a search takes less of the event loop's time than judging what it finds does, and no way to another thread.
_ROWS_AT_ONCE: Final = 100_000

#: Another number after each commit of another connection; asked in two thirds of the time that `_FIND_PLACE` takes.
_FILE_VERSION: Final = "PRAGMA data_version"
_FIND_PLACE: Final = (
    "SELECT p.number, p.rows, e.number, "
    "coalesce((SELECT max(r.id) FROM rows r WHERE r.place = p.number AND r.embedder = e.number), 0) "
    "FROM tenants t JOIN places p ON p.tenant = t.number JOIN embedders e ON e.id = ?3 WHERE t.id = ?1 AND p.digest = ?2"
)
_NEWER: Final = (
    "SELECT id, key, normal, expires_at, kept FROM rows "
    "WHERE place = ? AND embedder = ? AND id > ? AND expires_at > ? ORDER BY id LIMIT ?"
)
_FOUND: Final = (
    "SELECT r.id, r.key, r.normal, r.stored_at, r.kept, coalesce(q.until, 0) > ?1 FROM rows r "
    "LEFT JOIN quarantine q ON q.tenant = r.tenant AND q.key = r.key "
    "WHERE r.id IN (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) AND r.expires_at > ?1"
)
#: Reads nothing of what the rows keep. In this order, for nothing tells SQLite that the list is short.
_BARRED: Final = (
    "SELECT r.id FROM json_each(?1) j CROSS JOIN rows r ON r.id = j.value "
    "CROSS JOIN quarantine q ON q.tenant = r.tenant AND q.key = r.key WHERE q.until > ?2"
)
#: As many as `_FOUND` has room for.
_FOUND_ROWS: Final = 8
_NORMALISED: Final = (
    "SELECT r.key, r.kept, e.id FROM tenants t JOIN places p ON p.tenant = t.number JOIN rows r ON r.place = p.number "
    "JOIN embedders e ON e.number = r.embedder LEFT JOIN quarantine q ON q.tenant = r.tenant AND q.key = r.key "
    "WHERE t.id = ?1 AND p.digest = ?2 AND r.normal = ?3 AND r.expires_at > ?4 AND coalesce(q.until, 0) <= ?4 "
    "ORDER BY r.id DESC LIMIT 1"
)


class _Copy:
    """The vectors of one partition and embedder, as far as the file has been read."""

    def __init__(self, place: int, epoch: int) -> None:
        self.place = place
        self.epoch = epoch
        self.seen_id = 0
        #: Bytes that the index has counted for it.
        self.counted = 0
        self.arrays: PartitionArrays | None = None
        self.lock = threading.Lock()
        #: The connection that found every row in it, and what the file's version was for that connection.
        self._whole_for: tuple[apsw.Connection | None, int] = (None, 0)

    def is_whole(self, connection: apsw.Connection, version: int) -> bool:
        """Tell whether nothing was written since the copy was last seen to be of the whole partition."""
        # The versions that two connections tell cannot be compared.
        return self._whole_for[0] is connection and self._whole_for[1] == version

    def was_whole(self, connection: apsw.Connection, version: int) -> None:
        """Note that the copy is of the whole partition, as the file was at this version or is later."""
        self._whole_for = connection, version

    def stands_for(self, place: int, place_rows: int, epoch: int) -> bool:
        """Tell whether it is of this partition of this file, and not mostly of rows that are gone."""
        is_mostly_dead = self.arrays is not None and self.arrays.rows > 2 * place_rows + 1000
        return self.place == place and self.epoch == epoch and not is_mostly_dead


class SqliteIndex:
    """Keeps rows in `path`, opened at first use; `rows_max` bounds all tenants together."""

    def __init__(self, path: Path, *, clock: Clock, rows_max: int, place_rows_max: int = PARTITION_ROWS_MAX) -> None:
        self.counters = StoreCounters()
        self._clock = clock
        self._rows_max = rows_max
        self._place_rows_max = place_rows_max
        self._file = CacheFile(path, self.counters, lambda _connection, _version: None, layout.LAYOUT)
        self._reader = Link(self._file, busy_ms=_READ_BUSY_MS, cache_bytes=_READ_CACHE_BYTES, keeps_plans=True)
        self._writer: Writer | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._links = threading.local()
        self._all_links: list[Link] = []
        self._copies: OrderedDict[_Name, _Copy] = OrderedDict()
        self._copies_lock = threading.Lock()
        self._copies_bytes = 0
        self._cleaned_at = 0.0
        self._is_over = False
        self._is_closed = False

    async def nearest(
        self,
        tenant: Tenant,
        partition: bytes,
        embedder_id: str,
        vector: Vector,
        *,
        limit: int = NEIGHBOURS,
        cosine_min: float = COSINE_MIN,
    ) -> list[Neighbour]:
        """Return the nearest rows of the partition."""
        name = (tenant.id, partition, embedder_id)
        self._open()
        found = self._nearest_at_once(tenant, name, vector, limit, cosine_min)
        if found is not None:
            return found
        return await self._search(lambda link: self._nearest(link, tenant, name, vector, limit, cosine_min))

    async def find_normalised(self, tenant: Tenant, partition: bytes, normal_digest: bytes) -> bytes | None:
        """Return the key of the newest row with this normal form. On the event loop: it takes some 10 us."""
        self._open()
        try:
            now = self._clock.now()
            found = all_rows(self._reader.connection(), _NORMALISED, (tenant.id, partition, normal_digest, now))
        except apsw.Error as error:
            raise _translated(self._reader.report(error)) from error
        for key, kept, embedder_id in found:
            try:
                unpack(tenant, kept, key, partition, embedder_id, normal_digest)
            except Unreadable:
                self.counters.corrupt += 1
                continue
            return bytes(key)
        return None

    async def add(self, tenant: Tenant, row: IndexRow) -> None:
        """Keep a row."""
        kept = pack(tenant, row)

        def job(connection: apsw.Connection) -> None:
            layout.insert_row(connection, tenant.id, row, kept, self._place_rows_max)
            if row.repeats:
                answers.follow(connection, tenant, row.key, row.repeats, self._clock.now())
            if self._is_over:
                layout.delete_over(connection, self._rows_max, 4)

        await self._write(job, len(kept) + 256)

    async def remove(self, tenant: Tenant, keys: Sequence[bytes]) -> None:
        """Remove rows."""

        def job(connection: apsw.Connection) -> None:
            number = layout.find_tenant(connection, tenant.id)
            for key in keys if number is not None else ():
                layout.delete_rows(connection, "tenant = ? AND key = ?", (number, key))

        if keys:
            await self._write(job)

    async def repeat(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Note that a row has the answer of another one."""
        await self._write(lambda connection: answers.repeat(connection, tenant, key, other, self._clock.now()))

    async def quarantine(self, tenant: Tenant, key: bytes, *, until: float | None, reason: str) -> None:
        """Let a key's row be found no more, nor those near it that have its answer."""
        ends, now = layout.FOR_EVER if until is None else until, self._clock.now()
        found: list[answers.StoredRow] = []

        def job(connection: apsw.Connection) -> None:
            row = answers.quarantine(connection, tenant, key, ends, reason, now)
            found[:] = [row] if row is not None else []

        await self._write(job)
        for row in found:
            alike = await self._search(partial(self._answered_alike, tenant=tenant, row=row))
            if alike:
                await self._write(partial(answers.take_along, tenant=tenant, keys=alike, row=row, until=ends, now=now))

    async def release(self, tenant: Tenant, key: bytes) -> None:
        """End a quarantine."""

        def job(connection: apsw.Connection) -> None:
            values = (layout.find_tenant(connection, tenant.id), key, went_with(key))
            connection.execute("DELETE FROM quarantine WHERE tenant = ? AND (key = ? OR reason = ?)", values)

        await self._write(job)

    async def quarantined(self, tenant: Tenant) -> list[Quarantined]:
        """Return the quarantines in force."""
        query = (
            "SELECT q.key, q.until, q.reason, q.at FROM quarantine q JOIN tenants t ON t.number = q.tenant "
            "WHERE t.id = ? AND q.until > ? ORDER BY q.at DESC, q.key"
        )
        found = await self._search(lambda link: all_rows(link.connection(), query, (tenant.id, self._clock.now())))
        return [
            Quarantined(bytes(key), None if until >= layout.FOR_EVER else until, reason, at)
            for key, until, reason, at in found
        ]

    async def forget_tenant(self, tenant: Tenant) -> None:
        """Remove everything of a tenant."""
        await self._write(partial(layout.delete_tenant, tenant_id=tenant.id))

    async def count(self, tenant: Tenant) -> int:
        """Return how many rows a tenant has."""
        query = "SELECT count(*) FROM rows r JOIN tenants t ON t.number = r.tenant WHERE t.id = ? AND r.expires_at > ?"
        found = await self._search(lambda link: all_rows(link.connection(), query, (tenant.id, self._clock.now())))
        return int(found[0][0])

    async def aclose(self) -> None:
        """Write what is pending and close the file."""
        self._is_closed = True
        if self._writer is None or self._threads is None:
            return
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._threads.shutdown)
        for link in (self._reader, *self._all_links):
            link.drop()
        self._file.close()

    def _open(self) -> None:
        if self._is_closed:
            raise IndexUnavailable("the index of questions is closed")
        if self._writer is not None:
            return
        try:
            self._file.open()
        except StoreUnavailable as error:
            raise _translated(error) from error
        self._threads = ThreadPoolExecutor(_SEARCH_THREADS, thread_name_prefix="semantic-search")
        writer = Writer(
            Link(self._file, busy_ms=_WRITE_BUSY_MS, cache_bytes=_READ_CACHE_BYTES, keeps_plans=True),
            make_room=lambda _connection, _bytes: True,
            each_second=self._housekeeping,
        )
        writer.start()
        self._writer = writer

    async def _write(self, job: Callable[[apsw.Connection], None], weight: int = 0) -> None:
        self._open()
        assert self._writer is not None
        try:
            await self._writer.submit(job, weight)
        except StoreUnavailable as error:
            raise _translated(error) from error

    async def _search(self, work: Callable[[Link], T]) -> T:
        self._open()
        assert self._threads is not None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_link, work)

    def _with_link(self, work: Callable[[Link], T]) -> T:
        link: Link | None = getattr(self._links, "link", None)
        if link is None:
            link = self._links.link = Link(
                self._file, busy_ms=_SEARCH_BUSY_MS, cache_bytes=_READ_CACHE_BYTES, keeps_plans=True
            )
            self._all_links.append(link)
        try:
            return work(link)
        except apsw.Error as error:
            raise _translated(link.report(error)) from error

    def _nearest_at_once(
        self, tenant: Tenant, name: _Name, vector: Vector, limit: int, cosine_min: float
    ) -> list[Neighbour] | None:
        """Return what a search on the event loop finds; None where that would keep it too long."""
        with self._copies_lock:
            copy = self._copies.get(name)
            if copy is not None:
                self._copies.move_to_end(name)
        if copy is not None and copy.arrays is not None and copy.arrays.rows > _ROWS_AT_ONCE:
            return None
        try:
            connection = self._reader.connection()
            ((version,),) = all_rows(connection, _FILE_VERSION)
            if copy is None or not copy.is_whole(connection, version):
                found = all_rows(connection, _FIND_PLACE, name)
                if not found:
                    with self._copies_lock:
                        self._drop_copy(name)
                    return []
                place, place_rows, _, newest_id = found[0]
                is_current = copy is not None and copy.stands_for(place, place_rows, self._reader.epoch)
                if copy is None or not is_current or copy.seen_id < newest_id:
                    return None
                copy.was_whole(connection, version)
            if not copy.lock.acquire(blocking=False):
                return None
            try:
                return self._confirmed(connection, copy, tenant, name, vector, limit, cosine_min)
            finally:
                copy.lock.release()
        except apsw.Error as error:
            raise _translated(self._reader.report(error)) from error

    def _nearest(
        self, link: Link, tenant: Tenant, name: _Name, vector: Vector, limit: int, cosine_min: float
    ) -> list[Neighbour]:
        connection = link.connection()
        found = all_rows(connection, _FIND_PLACE, name)
        with self._copies_lock:
            if not found:
                self._drop_copy(name)
                return []
            place, place_rows, embedder, newest_id = found[0]
            copy = self._copies.get(name)
            if copy is None or not copy.stands_for(place, place_rows, link.epoch):
                self._drop_copy(name)
                copy = self._copies[name] = _Copy(place, link.epoch)
            self._copies.move_to_end(name)
        with copy.lock:
            if copy.seen_id < newest_id:
                self._bring_up_to_date(connection, copy, tenant, name, embedder)
                # The newest may have expired, and rows never come with smaller ids.
                copy.seen_id = max(copy.seen_id, newest_id)
            neighbours = self._confirmed(connection, copy, tenant, name, vector, limit, cosine_min)
        self._bound_copies(name, copy)
        return neighbours

    def _answered_alike(self, link: Link, tenant: Tenant, row: answers.StoredRow) -> list[bytes]:
        """Return the keys of the rows near a row that are known to have its answer."""
        name = (tenant.id, row.partition, row.embedder_id)
        near = self._nearest(link, tenant, name, vector_of(row.kept), ALIKE_MAX, COSINE_MIN)
        return [one.key for one in near if one.answer == row.answer]

    def _bring_up_to_date(
        self, connection: apsw.Connection, copy: _Copy, tenant: Tenant, name: _Name, embedder: int
    ) -> None:
        from agentcache.engine.semantic.index.arrays import PartitionArrays

        while True:
            values = (copy.place, embedder, copy.seen_id, self._clock.now(), _ROWS_PER_SLICE)
            newer = all_rows(connection, _NEWER, values)
            for row_id, key, normal, expires_at, stored in newer:
                copy.seen_id = row_id
                try:
                    kept = unpack(tenant, stored, key, name[1], name[2], normal)
                except Unreadable:
                    self.counters.corrupt += 1
                    continue
                if copy.arrays is None:
                    copy.arrays = PartitionArrays(len(kept.values))
                copy.arrays.append(row_id, expires_at, kept.values, kept.scale)
            if len(newer) < _ROWS_PER_SLICE:
                return

    def _confirmed(
        self,
        connection: apsw.Connection,
        copy: _Copy,
        tenant: Tenant,
        name: _Name,
        vector: Vector,
        limit: int,
        cosine_min: float,
    ) -> list[Neighbour]:
        """Return neighbours that the file still has and that are in no quarantine."""
        neighbours: list[Neighbour] = []
        arrays, now, passed = copy.arrays, self._clock.now(), set[int]()
        while arrays is not None and len(neighbours) < limit:
            is_barred_place = passed and not neighbours
            found = arrays.search(vector, now, (ALIKE_MAX if is_barred_place else 0) + limit + len(passed), passed)
            if not found:
                break
            if is_barred_place:
                # Here an answer was reported. All rows that have it would be read, some at a time, before another is found.
                barred = self._barred(connection, [arrays.id_at(position) for position, _ in found], now)
                passed.update(position for position, _ in found if arrays.id_at(position) in barred)
                found = [each for each in found if each[0] not in passed][:limit]
            rows = self._rows_at(connection, [arrays.id_at(position) for position, _ in found], now)
            for position, cosine in found:
                passed.add(position)
                if cosine < cosine_min or len(neighbours) == limit:
                    return neighbours
                row = rows.get(arrays.id_at(position))
                if row is None:
                    arrays.kill(position)
                    continue
                key, normal, stored_at, stored, is_quarantined = row
                kept = None if is_quarantined else self._read(tenant, stored, key, name, normal)
                if kept is not None:
                    neighbours.append(kept.as_neighbour(bytes(key), cosine, stored_at))
        return neighbours

    def _rows_at(self, connection: apsw.Connection, ids: list[int], now: float) -> dict[int, tuple[Any, ...]]:
        """Return the rows with these ids that the file still has."""
        rows: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(ids), _FOUND_ROWS):
            some = ids[start : start + _FOUND_ROWS]
            values = (now, *some, *[None] * (_FOUND_ROWS - len(some)))
            rows.update((row[0], row[1:]) for row in all_rows(connection, _FOUND, values))
        return rows

    def _barred(self, connection: apsw.Connection, ids: list[int], now: float) -> set[int]:
        """Return which of these rows are in quarantine."""
        return {row_id for (row_id,) in all_rows(connection, _BARRED, (json.dumps(ids), now))}

    def _read(self, tenant: Tenant, stored: Any, key: Any, name: _Name, normal: Any) -> Kept | None:
        try:
            return unpack(tenant, stored, key, name[1], name[2], normal)
        except Unreadable:
            self.counters.corrupt += 1
            return None

    def _bound_copies(self, name: _Name, copy: _Copy) -> None:
        with self._copies_lock:
            if self._copies.get(name) is not copy:
                return
            now = copy.arrays.memory_bytes if copy.arrays is not None else 0
            self._copies_bytes += now - copy.counted
            copy.counted = now
            while self._copies_bytes > COPIES_BYTES and len(self._copies) > 1:
                self._drop_copy(next(iter(self._copies)))

    def _drop_copy(self, name: _Name) -> None:
        dropped = self._copies.pop(name, None)
        self._copies_bytes -= dropped.counted if dropped is not None else 0

    def _housekeeping(self) -> Callable[[apsw.Connection], None] | None:
        """Give the writer its regular job, every few seconds: clean what has expired, and bound the whole."""
        now = self._clock.monotonic()
        if now - self._cleaned_at < _HOUSEKEEPING_SECONDS or self._is_closed:
            return None
        self._cleaned_at = now

        def job(connection: apsw.Connection) -> None:
            self.counters.swept += layout.delete_expired(connection, self._clock.now(), _ROWS_PER_SLICE)
            gone = layout.delete_over(connection, self._rows_max, _ROWS_PER_SLICE)
            self.counters.evicted += gone
            self._is_over = gone > 0

        return job


def _translated(error: StoreUnavailable) -> IndexUnavailable:
    return IndexUnavailable(error.message)
