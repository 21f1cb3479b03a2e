"""Selecting, counting and listing in the cache file. Read only."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import TypeAlias

import apsw

from agentcache.engine.entries import Selector, earlier, outdated
from agentcache.engine.stores.framing import PLAIN, Corrupt, open_head
from agentcache.engine.stores.invalidations import judge
from agentcache.engine.stores.port import EntrySummary, Page, StoreStats
from agentcache.engine.stores.sqlite_file import all_rows
from agentcache.engine.stores.sqlite_invalidations import pending_invalidations
from agentcache.engine.stores.sqlite_reach import selected, still_there, survey
from agentcache.engine.stores.sqlite_tenants import TenantRow
from agentcache.engine.stores.sqlite_writes import as_json
from agentcache.kit.errors import BadRequest

#: Row id -> (hits, time of the last) not yet written down.
PendingUses: TypeAlias = Callable[[int], tuple[int, float]]
_CURSOR = struct.Struct(">dq")


def list_rows(
    connection: apsw.Connection,
    owner: TenantRow,
    selector: Selector,
    *,
    cursor: str,
    limit: int,
    now: float,
    pending: PendingUses,
    version: int,
) -> Page:
    """Return a page, newest first; rows that do not open are left out."""
    where = selected(owner, selector) + still_there(connection, owner)
    if selector.keys:
        keys = as_json([key.hex().upper() for key in selector.keys])
        where = where.and_("hex(e.key) IN (SELECT value FROM json_each(?))", keys)
    if cursor:
        where = where.and_("(c.stored_at, c.id) < (?, ?)", *_open_cursor(cursor))
    query = (
        "SELECT c.id, c.stored_at, c.hits, c.used_at, e.key, e.head, e.mark, e.stale_at "  # noqa: S608 - our own words
        f"FROM catalog c JOIN entries e ON e.id = c.id WHERE {where.text} AND c.dead_at > ? "
        "ORDER BY c.stored_at DESC, c.id DESC LIMIT ?"
    )
    found = all_rows(connection, query, [*where.values, now, limit + 1])
    unfinished = pending_invalidations(connection, owner)
    rows = []
    for row_id, _, hits, used_at, key, head, mark, stale_at in found[:limit]:
        try:
            meta, body_bytes = open_head(key, head, version)
        except Corrupt:
            continue
        more, last = pending(row_id)
        since = earlier(stale_at, judge(unfinished, mark, key, meta).stale_at)
        if since is not None and version == PLAIN:
            meta = outdated(meta, since)
        rows.append(EntrySummary(key, meta, body_bytes, hits + more, max(used_at, last), since))
    following = ""
    if len(found) > limit:
        row_id, stored_at = found[limit - 1][:2]
        following = urlsafe_b64encode(_CURSOR.pack(stored_at, row_id)).decode()
    return Page(tuple(rows), following)


def _open_cursor(cursor: str) -> tuple[float, int]:
    try:
        stored_at, row_id = _CURSOR.unpack(urlsafe_b64decode(cursor.encode()))
    except (ValueError, struct.error):
        raise BadRequest("This cursor is not one that a listing gave out.", param="cursor") from None
    return stored_at, row_id


def read_stats(connection: apsw.Connection, owner: TenantRow, now: float) -> StoreStats:
    """Add up a tenant's namespaces."""
    if any(not one.is_soft for one in pending_invalidations(connection, owner)):
        # The kept totals still have rows that are gone in all but fact: count those that are there.
        reach = survey(connection, owner, Selector(), now)
        return StoreStats(reach.entries, reach.body_bytes, reach.namespaces)
    namespaces: dict[str, int] = {}
    total = 0
    rows = all_rows(
        connection,
        "SELECT namespace, sum(entries), sum(body_bytes) FROM scopes WHERE tenant = ? AND entries > 0 "
        "GROUP BY namespace ORDER BY namespace",
        (owner.number,),
    )
    for namespace, entries, body_bytes in rows:
        namespaces[namespace] = entries
        total += body_bytes
    return StoreStats(sum(namespaces.values()), total, namespaces)
