"""The log of invalidations in the cache file, and which of them still have rows to deal with."""

from __future__ import annotations

import apsw
import msgspec

from agentcache.engine.entries import Entry, Mark, Selector
from agentcache.engine.stores.invalidations import LOG_SECONDS, Invalidation
from agentcache.engine.stores.selection import matches
from agentcache.engine.stores.sqlite_file import all_rows, one_row
from agentcache.engine.stores.sqlite_tenants import TenantRow, ensure_tenant

_encode_selector = msgspec.msgpack.Encoder().encode
_decode_selector = msgspec.msgpack.Decoder(Selector).decode


def log_invalidation(
    connection: apsw.Connection, tenant_id: str, selector: Selector, now: float, *, is_soft: bool
) -> tuple[TenantRow, Invalidation]:
    """Raise the tenant's mark and note what is invalidated; no fill under way brings it back."""
    owner = ensure_tenant(connection, tenant_id)
    (mark,) = one_row(
        connection,
        "UPDATE tenants SET mark = mark + 1, pending = pending + 1 WHERE number = ? RETURNING mark",
        (owner.number,),
    )
    connection.execute(
        "INSERT INTO invalidations (tenant, mark, at, selector, soft, done) VALUES (?, ?, ?, ?, ?, 0)",
        (owner.number, mark, now, _encode_selector(selector), is_soft),
    )
    return owner, Invalidation(mark, now, selector, is_soft)


def end_invalidation(connection: apsw.Connection, owner: TenantRow, mark: Mark) -> None:
    """Note that every row that an invalidation means has been dealt with."""
    connection.execute(
        "UPDATE invalidations SET done = 1 WHERE tenant = ? AND mark = ? AND done = 0", (owner.number, mark)
    )
    if connection.changes():
        connection.execute("UPDATE tenants SET pending = pending - 1 WHERE number = ?", (owner.number,))


def pending_invalidations(connection: apsw.Connection, owner: TenantRow) -> list[Invalidation]:
    """Return a tenant's invalidations that still have rows to deal with, oldest first."""
    found = all_rows(
        connection,
        "SELECT mark, at, selector, soft FROM invalidations WHERE tenant = ? AND done = 0 ORDER BY mark",
        (owner.number,),
    )
    return [Invalidation(mark, at, _decode_selector(packed), bool(soft)) for mark, at, packed, soft in found]


def tenants_with_pending(connection: apsw.Connection) -> list[TenantRow]:
    """Return the tenants that have some."""
    return [TenantRow(*row) for row in all_rows(connection, "SELECT number, salt FROM tenants WHERE pending > 0")]


def is_superseded(connection: apsw.Connection, owner: TenantRow, entry: Entry, since: Mark) -> bool:
    """Say whether an invalidation after `since` means the entry."""
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


def prune_log(connection: apsw.Connection, now: float) -> None:
    """Forget invalidations that are older than any fill under way and have nothing left to do."""
    before = now - LOG_SECONDS
    old = all_rows(
        connection,
        "SELECT tenant, max(mark) FROM invalidations WHERE at < ? AND done = 1 GROUP BY tenant LIMIT 500",
        (before,),
    )
    for number, mark in old:
        connection.execute("UPDATE tenants SET floor = max(floor, ?) WHERE number = ?", (mark, number))
        connection.execute("DELETE FROM invalidations WHERE tenant = ? AND mark <= ? AND done = 1", (number, mark))
