"""What happens inside a write transaction of the cache file. Every function expects one to be open."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import apsw
import msgspec

from agentcache.engine.entries import Entry, Mark, Selector, Tenant
from agentcache.engine.stores.framing import Corrupt, open_frame
from agentcache.engine.stores.port import Put
from agentcache.engine.stores.selection import matches
from agentcache.engine.stores.sqlite_file import PAGE_BYTES, all_rows, one_row

#: Invalidations stay in the log this long: longer than any fill takes.
LOG_SECONDS = 3600.0
#: How long one slice of deleting may keep the write lock.
SLICE_SECONDS = 0.025
#: B-trees with random inserts are about 70 % full (measured: 0.69 to 0.72).
_FILL = 1.42
#: Largest row that SQLite keeps on one page of ours; longer ones spill to pages of their own.
_LOCAL_BYTES_MAX = PAGE_BYTES - 35

_encode_selector = msgspec.msgpack.Encoder().encode
_decode_selector = msgspec.msgpack.Decoder(Selector).decode


@dataclass(frozen=True, slots=True)
class TenantRow:
    """What never changes about a tenant in one file."""

    number: int
    salt: int

    def row_id(self, key: bytes) -> int:
        """Return the row of `key`: its first 8 bytes as a signed integer, salted."""
        return int.from_bytes(key[:8], "big", signed=True) ^ self.salt


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
        return stored_bytes(stored, 2 * len(meta.path) + 190 + links)


def stored_bytes(entry_bytes: int, index_bytes: int) -> int:
    """Add the slack of half-empty pages, which whole overflow pages do not have."""
    if entry_bytes > _LOCAL_BYTES_MAX:
        return entry_bytes + int(_FILL * index_bytes)
    return int(_FILL * (entry_bytes + index_bytes))


def find_tenant(connection: apsw.Connection, tenant_id: str) -> TenantRow | None:
    """Return a tenant's row if it has one in this file."""
    found = all_rows(connection, "SELECT number, salt FROM tenants WHERE id = ?", (tenant_id,))
    return TenantRow(*found[0]) if found else None


def ensure_tenant(connection: apsw.Connection, tenant_id: str) -> TenantRow:
    """Return a tenant's row, made if need be. Its marks start where the file's do."""
    found = find_tenant(connection, tenant_id)
    if found is not None:
        return found
    salt = secrets.randbits(63)
    connection.execute(
        "INSERT INTO tenants (id, salt, mark, floor) SELECT ?, ?, value, value FROM store WHERE name = 'base'",
        (tenant_id, salt),
    )
    return TenantRow(connection.last_insert_rowid(), salt)


def put(connection: apsw.Connection, tenant: Tenant, row: Row, since: Mark | None, now: float) -> Put:
    """Write an entry with its catalog row and links, unless a matching invalidation came after `since`."""
    owner = ensure_tenant(connection, tenant.id)
    if since is not None and _is_superseded(connection, owner, row.entry, since):
        return Put.SUPERSEDED
    row_id = owner.row_id(row.entry.key)
    remove(connection, [row_id])
    meta, body = row.entry.meta, row.entry.body
    connection.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (row_id, owner.number, row.entry.key, row.head, body)
    )
    (scope,) = one_row(
        connection,
        "INSERT INTO scopes (tenant, namespace, dialect, model, entries, body_bytes) VALUES (?, ?, ?, ?, 1, ?) "
        "ON CONFLICT DO UPDATE SET entries = entries + 1, body_bytes = body_bytes + excluded.body_bytes RETURNING id",
        (owner.number, meta.namespace, meta.dialect, meta.model, len(body)),
    )
    disk_bytes = row.disk_bytes
    connection.execute(
        "INSERT INTO catalog VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (row_id, owner.number, scope, meta.path, meta.stored_at, row.dead_at, now, len(body), disk_bytes),
    )
    labels = {f"t:{tag}" for tag in meta.tags} | {f"s:{source}" for source in meta.sources}
    for label in labels:
        connection.execute("INSERT INTO links VALUES (?, ?, ?)", (owner.number, label, row_id))
    _add_bytes(connection, owner.number, disk_bytes)
    return Put.STORED


def _is_superseded(connection: apsw.Connection, owner: TenantRow, entry: Entry, since: Mark) -> bool:
    mark, floor = one_row(connection, "SELECT mark, floor FROM tenants WHERE number = ?", (owner.number,))
    if since == mark:
        return False
    if since > mark or since < floor:
        # From another file, or older than the log reaches: what happened since then is unknown.
        return True
    logged = all_rows(
        connection, "SELECT selector FROM invalidations WHERE tenant = ? AND mark > ?", (owner.number, since)
    )
    return any(matches(_decode_selector(selector), entry.key, entry.meta) for (selector,) in logged)


def log_invalidation(connection: apsw.Connection, tenant_id: str, selector: Selector, now: float) -> TenantRow:
    """Raise the tenant's mark and note what was invalidated, so that no fill under way brings it back."""
    owner = ensure_tenant(connection, tenant_id)
    connection.execute("UPDATE tenants SET mark = mark + 1 WHERE number = ?", (owner.number,))
    connection.execute(
        "INSERT INTO invalidations SELECT number, mark, ?, ? FROM tenants WHERE number = ?",
        (now, _encode_selector(selector), owner.number),
    )
    return owner


def prune_log(connection: apsw.Connection, now: float) -> None:
    """Forget invalidations older than any fill under way."""
    before = now - LOG_SECONDS
    old = all_rows(
        connection, "SELECT tenant, max(mark) FROM invalidations WHERE at < ? GROUP BY tenant LIMIT 500", (before,)
    )
    for number, mark in old:
        connection.execute("UPDATE tenants SET floor = max(floor, ?) WHERE number = ?", (mark, number))
        connection.execute("DELETE FROM invalidations WHERE tenant = ? AND mark <= ?", (number, mark))


def drop_empty_scopes(connection: apsw.Connection) -> None:
    """Forget namespaces that hold nothing."""
    connection.execute("DELETE FROM scopes WHERE entries = 0")


def remove(connection: apsw.Connection, row_ids: list[int]) -> int:
    """Delete entries with all that belongs to them; return how many were there."""
    removed = 0
    for row_id in row_ids:
        row = connection.execute(
            "DELETE FROM catalog WHERE id = ? RETURNING tenant, scope, body_bytes, disk_bytes", (row_id,)
        ).fetchone()
        connection.execute("DELETE FROM entries WHERE id = ?", (row_id,))
        if row is None:
            continue
        tenant, scope, body_bytes, disk_bytes = row
        connection.execute("DELETE FROM links WHERE id = ?", (row_id,))
        connection.execute(
            "UPDATE scopes SET entries = entries - 1, body_bytes = body_bytes - ? WHERE id = ?", (body_bytes, scope)
        )
        _add_bytes(connection, tenant, -disk_bytes)
        removed += 1
    return removed


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


def remove_slice(
    connection: apsw.Connection, owner: TenantRow, found: list[tuple[int, float]], now: float
) -> tuple[int, int]:
    """Delete from `found` (row id, stored at) for one slice of time; return how many were alive and how many tried.

    A row that was overwritten after it was found is newer than the invalidation and stays.
    """
    deadline = perf_counter() + SLICE_SECONDS
    alive = tried = 0
    for row_id, stored_at in found:
        row = connection.execute("SELECT tenant, stored_at, dead_at FROM catalog WHERE id = ?", (row_id,)).fetchone()
        tried += 1
        if row is not None and row[0] == owner.number and row[1] == stored_at:
            alive += remove(connection, [row_id]) if row[2] > now else 0 * remove(connection, [row_id])
        if perf_counter() > deadline:
            break
    return alive, tried


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
