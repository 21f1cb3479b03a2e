"""Selecting and listing in Redis. Read only."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from agentcache.engine.entries import Selector, earlier, outdated
from agentcache.engine.sources import normal_source
from agentcache.engine.stores.framing import PLAIN, Corrupt, head_bytes, open_head
from agentcache.engine.stores.invalidations import Invalidation, judge
from agentcache.engine.stores.port import EntrySummary, Page, StoreStats
from agentcache.engine.stores.redis_keys import KEY_BYTES, CatalogRow, TenantKeys, decode_row
from agentcache.engine.stores.redis_link import Command, Lane
from agentcache.engine.stores.redis_log import read_pending
from agentcache.engine.stores.selection import matches
from agentcache.kit.errors import BadRequest

Found: TypeAlias = tuple[bytes, CatalogRow]

#: Rows that are read with one command.
_SCANNED_AT_ONCE = 500
#: Enough for the head of nearly every entry; a longer one is read again in full.
_HEAD_BYTES = 4096
_CURSOR_TIME = struct.Struct(">d")


async def find(lane: Lane, keys: TenantKeys, selector: Selector) -> AsyncIterator[list[Found]]:
    """Yield everything that matches, dead entries too, in no order and in lists; an entry may come twice."""
    async for candidates in candidates_of(lane, keys, selector):
        found = [(key, row) for key, row in candidates if row is not None and matches(selector, key, row)]
        if found:
            yield found


async def candidates_of(
    lane: Lane, keys: TenantKeys, selector: Selector
) -> AsyncIterator[list[tuple[bytes, CatalogRow | None]]]:
    """Go through the narrowest index that surely has every row: other releases know these, too."""
    if selector.keys:
        for start in range(0, len(selector.keys), _SCANNED_AT_ONCE):
            yield await read_rows(lane, keys, list(selector.keys[start : start + _SCANNED_AT_ONCE]))
        return
    labels = [f"t:{tag}" for tag in selector.tags]
    if not labels and selector.source is not None:
        labels = list(dict.fromkeys((f"s:{normal_source(selector.source)}", f"s:{selector.source}")))
    if not labels and selector.namespace is not None:
        labels = [f"n:{selector.namespace}"]
    if labels:
        for label in labels:
            async for rows in _labelled(lane, keys, label):
                yield rows
        return
    async for flat in _scan(lane, "HSCAN", keys.catalog):
        yield [(key, decode_row(packed)) for key, packed in zip(flat[::2], flat[1::2], strict=True)]


async def _labelled(lane: Lane, keys: TenantKeys, label: str) -> AsyncIterator[list[tuple[bytes, CatalogRow | None]]]:
    """Yield the rows under a label; the next keys come in the same round trip."""
    ((cursor, members),) = await lane.ask(("SSCAN", keys.label(label), 0, "COUNT", _SCANNED_AT_ONCE))
    while members or cursor != b"0":
        commands: list[Command] = [("HMGET", keys.catalog, *members)] if members else []
        if cursor != b"0":
            commands.append(("SSCAN", keys.label(label), cursor, "COUNT", _SCANNED_AT_ONCE))
        replies = await lane.ask(*commands)
        rows = [(key, decode_row(packed)) for key, packed in zip(members, replies[0], strict=True)] if members else []
        cursor, members = replies[-1] if cursor != b"0" else (b"0", [])
        if rows:
            yield rows


async def _scan(lane: Lane, command: str, name: str) -> AsyncIterator[list[bytes]]:
    cursor = b"0"
    while True:
        ((cursor, items),) = await lane.ask((command, name, cursor, "COUNT", _SCANNED_AT_ONCE))
        if items:
            yield items
        if cursor == b"0":
            return


async def read_rows(lane: Lane, keys: TenantKeys, names: list[bytes]) -> list[tuple[bytes, CatalogRow | None]]:
    """Return the rows of cache keys."""
    (packed,) = await lane.ask(("HMGET", keys.catalog, *names))
    return [(key, decode_row(row)) for key, row in zip(names, packed, strict=True)]


async def which(lane: Lane, keys: TenantKeys, selector: Selector, names: Sequence[bytes], now: float) -> set[bytes]:
    """Return those of `names` whose entries a selector means now."""
    found: set[bytes] = set()
    for start in range(0, len(names), _SCANNED_AT_ONCE):
        # What is pending comes first: whatever is dealt with after that is gone.
        pending = await read_pending(lane, keys)
        for key, row in await read_rows(lane, keys, list(names[start : start + _SCANNED_AT_ONCE])):
            if row is not None and _stands(pending, key, row, now) and matches(selector, key, row):
                found.add(key)
    return found


def _stands(pending: list[Invalidation], key: bytes, row: CatalogRow, now: float) -> bool:
    return row.dead_at > now and not judge(pending, row.mark, key, row).is_gone


async def list_page(
    lane: Lane, keys: TenantKeys, selector: Selector, *, cursor: str, limit: int, now: float, version: int
) -> Page:
    """Return a page, newest first; rows that do not open are left out."""
    after = _open_cursor(cursor) if cursor else None
    pending = await read_pending(lane, keys)
    narrow = selector.keys or selector.tags or selector.source is not None
    if narrow:
        found = {
            key: row.stored_at
            async for rows in find(lane, keys, selector)
            for key, row in rows
            if _stands(pending, key, row, now)
        }
        places = sorted(((stored_at, key) for key, stored_at in found.items()), reverse=True)
        places = [place for place in places if after is None or place < after][: limit + 1]
    else:
        places = []
        async for place, row in _newest_first(lane, keys, selector, after):
            if not _stands(pending, place[1], row, now):
                continue
            places.append(place)
            if len(places) > limit:
                break
    summaries = await _summarise(lane, keys, [key for _, key in places[:limit]], pending, version)
    return Page(summaries, _make_cursor(places[limit - 1]) if len(places) > limit else "")


async def _newest_first(
    lane: Lane, keys: TenantKeys, selector: Selector, after: tuple[float, bytes] | None
) -> AsyncIterator[tuple[tuple[float, bytes], CatalogRow]]:
    """Walk the entries by age and yield (stored at, key) and row of those that match, below `after`."""
    start = 0
    if after is not None:
        stored_at, key = after
        (rank,) = await lane.ask(("ZREVRANK", keys.by_age, key))
        # Without the entry the page ended at, start with those as old as it was.
        newer = await lane.ask(("ZCOUNT", keys.by_age, f"({stored_at!r}", "+inf"))
        start = newer[0] if rank is None else rank
    while True:
        (flat,) = await lane.ask(("ZREVRANGE", keys.by_age, start, start + _SCANNED_AT_ONCE - 1, "WITHSCORES"))
        if not flat:
            return
        start += len(flat) // 2
        scores = dict(zip(flat[::2], map(float, flat[1::2]), strict=True))
        for key, row in await read_rows(lane, keys, list(scores)):
            place = (scores[key], key)
            if row is not None and matches(selector, key, row) and (after is None or place < after):
                yield place, row


async def _summarise(
    lane: Lane, keys: TenantKeys, names: list[bytes], pending: list[Invalidation], version: int
) -> tuple[EntrySummary, ...]:
    commands: list[Command] = []
    for key in names:
        commands.append(("GETRANGE", keys.entry(key), 0, _HEAD_BYTES - 1))
        commands.append(("HGET", keys.hits, key))
        commands.append(("ZSCORE", keys.by_use, key))
        commands.append(("HGET", keys.catalog, key))
    replies = await lane.ask(*commands) if commands else []
    rows = []
    for index, key in enumerate(names):
        head, hits, used_at, packed = replies[4 * index : 4 * index + 4]
        try:
            length = head_bytes(head)
            if length > len(head):
                (head,) = await lane.ask(("GETRANGE", keys.entry(key), 0, length - 1))
            meta, body_bytes = open_head(key, head, version)
        except Corrupt:
            continue
        row = decode_row(packed)
        stale_at = None
        if row is not None:
            stale_at = earlier(row.stale_at or None, judge(pending, row.mark, key, row).stale_at)
        used = float(used_at or meta.stored_at)
        if stale_at is not None and version == PLAIN:
            meta = outdated(meta, stale_at)
        rows.append(EntrySummary(key, meta, body_bytes, int(hits or 0), used, stale_at))
    return tuple(rows)


def _make_cursor(place: tuple[float, bytes]) -> str:
    return urlsafe_b64encode(_CURSOR_TIME.pack(place[0]) + place[1]).decode()


def _open_cursor(cursor: str) -> tuple[float, bytes]:
    try:
        packed = urlsafe_b64decode(cursor.encode())
        (stored_at,) = _CURSOR_TIME.unpack_from(packed)
    except (ValueError, struct.error):
        packed, stored_at = b"", 0.0
    if len(packed) != _CURSOR_TIME.size + KEY_BYTES or stored_at != stored_at:  # noqa: PLR0124 - NaN
        raise BadRequest("This cursor is not one that a listing gave out.", param="cursor")
    return stored_at, packed[_CURSOR_TIME.size :]


async def read_stats(lane: Lane, keys: TenantKeys) -> StoreStats:
    """Add up a tenant's namespaces; rows that a pending invalidation means are in it."""
    names, body_bytes = await lane.ask(("SMEMBERS", keys.namespaces), ("HGET", keys.totals, "body_bytes"))
    namespaces = {name.decode(): 0 for name in sorted(names)}
    if namespaces:
        counts = await lane.ask(*(("SCARD", keys.label(f"n:{name}")) for name in namespaces))
        namespaces = {name: count for name, count in zip(namespaces, counts, strict=True) if count}
    return StoreStats(sum(namespaces.values()), int(body_bytes or 0), namespaces)
