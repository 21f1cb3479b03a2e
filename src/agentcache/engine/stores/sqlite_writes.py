"""What happens inside a write transaction of the cache file. Every function expects one to be open."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from time import perf_counter

import apsw
import msgspec

from agentcache.engine.entries import Entry, Mark, Tenant
from agentcache.engine.sources import normal_source
from agentcache.engine.stores.framing import Corrupt, open_frame
from agentcache.engine.stores.port import Put
from agentcache.engine.stores.sqlite_file import PAGE_BYTES, all_rows, one_row
from agentcache.engine.stores.sqlite_invalidations import is_superseded
from agentcache.engine.stores.sqlite_tenants import TenantRow, ensure_tenant

#: How long one slice of deleting may keep the write lock.
SLICE_SECONDS = 0.025
#: B-trees with random inserts are about 70 % full (measured: 0.69 to 0.72).
_FILL = 1.42
#: Largest row that SQLite keeps on one page of ours; longer ones spill to pages of their own.
_LOCAL_BYTES_MAX = PAGE_BYTES - 35

#: Rows that one statement deletes: enough that what a statement costs does not count.
_REMOVED_AT_ONCE = 128
_IS_TAKEN = "SELECT 1 FROM entries WHERE id = ?1 UNION ALL SELECT 1 FROM catalog WHERE id = ?1"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry, ready to be written."""

    entry: Entry
    head: bytes
    dead_at: float

    @property
    def disk_bytes(self) -> int:
        """Estimate what the entry takes on disk, with indexes and the slack of its pages."""
        meta = self.entry.meta
        stored = len(self.head) + len(self.entry.body) + 50
        if stored > _LOCAL_BYTES_MAX:
            stored = ceil(stored / PAGE_BYTES) * PAGE_BYTES + 300
        links = sum(2 * (len(label) + 24) for label in (*meta.tags, *meta.sources))
        return stored_bytes(stored, 2 * len(meta.path) + 235 + links)


def tag_label(tag: str) -> str:
    """Return the label under which entries with a tag are linked."""
    return f"t:{tag}"


def source_label(source: str) -> str:
    """Return the label under which entries made from a source are linked, whatever its spelling."""
    return f"s:{normal_source(source)}"


def as_json(items: list[str] | list[int]) -> str:
    """Return a list as SQLite's `json_each` takes it."""
    return msgspec.json.encode(items).decode()


def stored_bytes(entry_bytes: int, index_bytes: int) -> int:
    """Add the slack of half-empty pages, which whole overflow pages do not have."""
    if entry_bytes > _LOCAL_BYTES_MAX:
        return entry_bytes + int(_FILL * index_bytes)
    return int(_FILL * (entry_bytes + index_bytes))


def put(connection: apsw.Connection, tenant: Tenant, row: Row, since: Mark | None, now: float) -> Put:
    """Write an entry with its catalog row and links, unless a matching invalidation came after `since`."""
    owner = ensure_tenant(connection, tenant.id)
    if since is not None and is_superseded(connection, owner, row.entry, since):
        return Put.SUPERSEDED
    row_id = owner.row_id(row.entry.key)
    if all_rows(connection, _IS_TAKEN, (row_id,)):
        remove(connection, [row_id])
    meta, body = row.entry.meta, row.entry.body
    (mark,) = one_row(
        connection,
        "INSERT INTO entries (id, tenant, key, head, body, mark) SELECT ?, number, ?, ?, ?, mark FROM tenants "
        "WHERE number = ? RETURNING mark",
        (row_id, row.entry.key, row.head, body, owner.number),
    )
    (scope,) = one_row(
        connection,
        "INSERT INTO scopes (tenant, namespace, dialect, model, entries, body_bytes) VALUES (?, ?, ?, ?, 1, ?) "
        "ON CONFLICT DO UPDATE SET entries = entries + 1, body_bytes = body_bytes + excluded.body_bytes RETURNING id",
        (owner.number, meta.namespace, meta.dialect, meta.model, len(body)),
    )
    disk_bytes = row.disk_bytes
    connection.execute(
        "INSERT INTO catalog (id, tenant, scope, path, stored_at, dead_at, used_at, body_bytes, disk_bytes, mark, "
        "cost_nanos) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row_id, owner.number, scope, meta.path, meta.stored_at, row.dead_at, now, len(body), disk_bytes, mark,
         meta.cost_usd_nanos),
    )  # fmt: skip
    labels = {tag_label(tag) for tag in meta.tags} | {source_label(source) for source in meta.sources}
    for label in labels:
        connection.execute("INSERT INTO links VALUES (?, ?, ?)", (owner.number, label, row_id))
    _add_bytes(connection, owner.number, disk_bytes)
    return Put.STORED


def drop_empty_scopes(connection: apsw.Connection) -> None:
    """Forget namespaces that hold nothing."""
    connection.execute("DELETE FROM scopes WHERE entries = 0")


def remove(connection: apsw.Connection, row_ids: list[int]) -> int:
    """Delete entries with all that belongs to them; return how many were there."""
    removed = 0
    for start in range(0, len(row_ids), _REMOVED_AT_ONCE):
        removed += _remove_where(connection, row_ids[start : start + _REMOVED_AT_ONCE], "", ())
    return removed


def _remove_where(connection: apsw.Connection, row_ids: list[int], condition: str, values: tuple[int, ...]) -> int:
    """Delete those of `row_ids` that also meet a condition of our own words over `catalog`."""
    gone = all_rows(
        connection,
        f"DELETE FROM catalog WHERE id IN (SELECT value FROM json_each(?)) {condition} "  # noqa: S608 - a condition of our own words
        "RETURNING id, tenant, scope, body_bytes, disk_bytes",
        (as_json(row_ids), *values),
    )
    # A row without its catalog row is of no use either; with a condition, nobody can tell whether it is meant.
    ids = as_json([row[0] for row in gone] if condition else row_ids)
    connection.execute("DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    if not gone:
        return 0
    connection.execute("DELETE FROM links WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    by_scope: dict[int, list[int]] = {}
    by_tenant: dict[int, int] = {}
    for _, tenant, scope, body_bytes, disk_bytes in gone:
        sums = by_scope.setdefault(scope, [0, 0])
        sums[0] += 1
        sums[1] += body_bytes
        by_tenant[tenant] = by_tenant.get(tenant, 0) + disk_bytes
    for scope, (entries, body_bytes) in by_scope.items():
        connection.execute(
            "UPDATE scopes SET entries = entries - ?, body_bytes = body_bytes - ? WHERE id = ?",
            (entries, body_bytes, scope),
        )
    for tenant, disk_bytes in by_tenant.items():
        _add_bytes(connection, tenant, -disk_bytes)
    return len(gone)


def remove_corrupt(connection: apsw.Connection, row_id: int, version: int) -> int:
    """Delete a row that did not open, unless it has been written anew since; return rows removed."""
    for key, head, body in all_rows(connection, "SELECT key, head, body FROM entries WHERE id = ?", (row_id,)):
        try:
            open_frame(key, head, body, version)
        except (Corrupt, TypeError):
            return remove(connection, [row_id])
    return 0


def remove_dead(connection: apsw.Connection, now: float) -> tuple[int, bool]:
    """Delete entries past lifetime and grace for one slice of time; return how many, and whether more remain."""
    deadline = perf_counter() + SLICE_SECONDS
    removed = 0
    while perf_counter() < deadline:
        dead = all_rows(connection, "SELECT id FROM catalog WHERE dead_at <= ? LIMIT 32", (now,))
        removed += remove(connection, [row_id for (row_id,) in dead])
        if len(dead) < 32:
            return removed, False
    return removed, True


def remove_slice(connection: apsw.Connection, owner: TenantRow, row_ids: list[int], before: Mark) -> int:
    """Delete a tenant's rows with marks below `before` for one slice of time; return how many of `row_ids` were tried.

    A row that was written after the invalidation has its mark or a later one, and stays.
    """
    deadline = perf_counter() + SLICE_SECONDS
    tried = 0
    while tried < len(row_ids) and (not tried or perf_counter() < deadline):
        some = row_ids[tried : tried + _REMOVED_AT_ONCE]
        _remove_where(connection, some, "AND tenant = ? AND mark < ?", (owner.number, before))
        tried += len(some)
    return tried


def mark_slice(connection: apsw.Connection, owner: TenantRow, row_ids: list[int], before: Mark, stale_at: float) -> int:
    """Mark a tenant's rows with marks below `before` as stale for one slice of time; return how many were tried."""
    deadline = perf_counter() + SLICE_SECONDS
    tried = 0
    while tried < len(row_ids) and (not tried or perf_counter() < deadline):
        some = row_ids[tried : tried + _REMOVED_AT_ONCE]
        connection.execute(
            "UPDATE entries SET stale_at = ? WHERE id IN (SELECT value FROM json_each(?)) "
            "AND tenant = ? AND mark < ? AND stale_at IS NULL",
            (stale_at, as_json(some), owner.number, before),
        )
        tried += len(some)
    return tried


def evict(connection: apsw.Connection, bytes_max: int) -> tuple[int, bool]:
    """Delete least recently used entries for one slice of time until all fit `bytes_max`; return (rows, fits now).

    The victim is always the tenant that holds most: it is above its share (total / tenants), so a tenant below
    its share never loses an entry to another's appetite.
    """
    deadline = perf_counter() + SLICE_SECONDS
    removed = 0
    excess = total_bytes(connection) - bytes_max
    while excess > 0:
        if perf_counter() > deadline:
            return removed, False
        largest = connection.execute("SELECT number FROM tenants ORDER BY bytes DESC LIMIT 1").fetchone()
        oldest = all_rows(
            connection,
            "SELECT id, disk_bytes FROM catalog WHERE tenant = ? ORDER BY used_at LIMIT 16",
            largest or (0,),
        )
        if not oldest:
            return removed, True
        chosen: list[int] = []
        for row_id, disk_bytes in oldest:
            chosen.append(row_id)
            excess -= disk_bytes
            if excess <= 0:
                break
        removed += remove(connection, chosen)
    return removed, True


def record_uses(connection: apsw.Connection, uses: list[tuple[int, int, float]]) -> None:
    """Note hits: (row id, count, last used at)."""
    for row_id, count, used_at in uses:
        connection.execute(
            "UPDATE catalog SET hits = hits + ?, used_at = max(used_at, ?) WHERE id = ?", (count, used_at, row_id)
        )


def total_bytes(connection: apsw.Connection) -> int:
    """Return the estimated disk use of all entries."""
    return int(one_row(connection, "SELECT value FROM store WHERE name = 'bytes'")[0])


def _add_bytes(connection: apsw.Connection, tenant: int, disk_bytes: int) -> None:
    connection.execute("UPDATE tenants SET bytes = bytes + ? WHERE number = ?", (disk_bytes, tenant))
    connection.execute("UPDATE store SET value = value + ? WHERE name = 'bytes'", (disk_bytes,))
