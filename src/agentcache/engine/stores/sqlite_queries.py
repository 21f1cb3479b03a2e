"""Selecting, counting and listing in the cache file. Read only."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import TypeAlias

import apsw
import msgspec

from agentcache.engine.entries import Selector
from agentcache.engine.stores.framing import Corrupt, open_head
from agentcache.engine.stores.port import EntrySummary, Page, StoreStats
from agentcache.engine.stores.sqlite_file import all_rows, one_row
from agentcache.engine.stores.sqlite_writes import TenantRow
from agentcache.kit.errors import BadRequest

#: Row id -> (hits, time of the last) not yet written down.
PendingUses: TypeAlias = Callable[[int], tuple[int, float]]
_CURSOR = struct.Struct(">dq")
_Values: TypeAlias = list[str | int | float | bytes]


def _conditions(owner: TenantRow, selector: Selector) -> tuple[str, _Values]:
    """Return the WHERE clause over `catalog c` and its values. The text holds no value of the caller's."""
    clauses: list[str] = ["c.tenant = ?"]
    values: _Values = [owner.number]
    for clause, wanted in (
        ("c.scope IN (SELECT id FROM scopes WHERE tenant = ? AND namespace = ?)", selector.namespace),
        ("c.scope IN (SELECT id FROM scopes WHERE tenant = ? AND dialect = ?)", selector.dialect),
        ("c.scope IN (SELECT id FROM scopes WHERE tenant = ? AND model = ?)", selector.model),
    ):
        if wanted is not None:
            clauses.append(clause)
            values += [owner.number, wanted]
    if selector.tags:
        clauses.append("c.id IN (SELECT id FROM links WHERE tenant = ? AND label IN (SELECT value FROM json_each(?)))")
        values += [owner.number, _as_json([f"t:{tag}" for tag in selector.tags])]
    if selector.source is not None:
        clauses.append("c.id IN (SELECT id FROM links WHERE tenant = ? AND label = ?)")
        values += [owner.number, f"s:{selector.source}"]
    if selector.pattern is not None:
        clauses.append("c.path GLOB ?")
        values.append(selector.pattern)
    if selector.stored_before is not None:
        clauses.append("c.stored_at <= ?")
        values.append(selector.stored_before)
    return " AND ".join(clauses), values


def find_rows(connection: apsw.Connection, owner: TenantRow, selector: Selector) -> list[tuple[int, float]]:
    """Return (row id, stored at) of everything that matches, dead entries too."""
    where, values = _conditions(owner, selector)
    if selector.keys:
        return list(_find_by_keys(connection, owner, selector.keys, where, values))
    index = _index_for(selector)
    # Safe: `where` and `index` are made of our own words, values are bound.
    query = f"SELECT c.id, c.stored_at FROM catalog c {index} WHERE {where}"  # noqa: S608
    return all_rows(connection, query, values)


def count_rows(connection: apsw.Connection, owner: TenantRow, selector: Selector, now: float) -> int:
    """Count the entries that match and are not past lifetime and grace."""
    where, values = _conditions(owner, selector)
    if selector.keys:
        found = _find_by_keys(connection, owner, selector.keys, f"{where} AND c.dead_at > ?", [*values, now])
        return sum(1 for _ in found)
    query = f"SELECT count(*) FROM catalog c {_index_for(selector)} WHERE {where} AND c.dead_at > ?"  # noqa: S608 - as above
    return int(one_row(connection, query, [*values, now])[0])


def _index_for(selector: Selector) -> str:
    """Have a glob read the index of paths alone: a million paths in about 0.3 s, rows only where one matches."""
    narrow = selector.tags or selector.source is not None
    return "INDEXED BY catalog_by_path" if selector.pattern is not None and not narrow else ""


def _find_by_keys(
    connection: apsw.Connection, owner: TenantRow, keys: tuple[bytes, ...], where: str, values: _Values
) -> Iterator[tuple[int, float]]:
    query = (
        "SELECT c.id, c.stored_at FROM catalog c JOIN entries e ON e.id = c.id "  # noqa: S608 - as above
        f"WHERE c.id = ? AND e.key = ? AND {where}"
    )
    for key in dict.fromkeys(keys):
        yield from all_rows(connection, query, [owner.row_id(key), key, *values])


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
    where, values = _conditions(owner, selector)
    if selector.keys:
        where += " AND hex(e.key) IN (SELECT value FROM json_each(?)) AND c.id IN (SELECT value FROM json_each(?))"
        values.append(_as_json([key.hex().upper() for key in selector.keys]))
        values.append(_as_json([owner.row_id(key) for key in selector.keys]))
    if cursor:
        where += " AND (c.stored_at, c.id) < (?, ?)"
        values += _open_cursor(cursor)
    query = (
        "SELECT c.id, c.stored_at, c.hits, c.used_at, e.key, e.head FROM catalog c JOIN entries e ON e.id = c.id "  # noqa: S608 - as above
        f"WHERE {where} AND c.dead_at > ? ORDER BY c.stored_at DESC, c.id DESC LIMIT ?"
    )
    found = all_rows(connection, query, [*values, now, limit + 1])
    rows = []
    for row_id, _, hits, used_at, key, head in found[:limit]:
        try:
            meta, body_bytes = open_head(key, head, version)
        except Corrupt:
            continue
        more, last = pending(row_id)
        rows.append(EntrySummary(key, meta, body_bytes, hits + more, max(used_at, last)))
    following = ""
    if len(found) > limit:
        row_id, stored_at = found[limit - 1][:2]
        following = urlsafe_b64encode(_CURSOR.pack(stored_at, row_id)).decode()
    return Page(tuple(rows), following)


def _as_json(items: list[str] | list[int]) -> str:
    return msgspec.json.encode(items).decode()


def _open_cursor(cursor: str) -> tuple[float, int]:
    try:
        stored_at, row_id = _CURSOR.unpack(urlsafe_b64decode(cursor.encode()))
    except (ValueError, struct.error):
        raise BadRequest("This cursor is not one that a listing gave out.", param="cursor") from None
    return stored_at, row_id


def read_stats(connection: apsw.Connection, owner: TenantRow) -> StoreStats:
    """Add up a tenant's namespaces."""
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
