"""What a selector means in Redis: counted and priced. Read only.

By key, tag and source it goes through the rows that are meant. Everything else is taken from the sums where a whole scope is
meant, and found by path where a part of one is: by the beginning of the path where the pattern tells one, else by Redis itself
among all paths. Without
whole sums, and for a whole scope of which a pending invalidation means something, rows are counted one by one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from agentcache.engine.entries import Mark, Reach, Selector
from agentcache.engine.stores import redis_queries as queries
from agentcache.engine.stores import redis_sums as sums
from agentcache.engine.stores.invalidations import Invalidation, judge
from agentcache.engine.stores.redis_keys import KEY_BYTES, CatalogRow, TenantKeys, decode_scope, path_and_key
from agentcache.engine.stores.redis_link import Command, Lane
from agentcache.engine.stores.redis_log import Logged, read_pending
from agentcache.engine.stores.selection import (
    literal_beginning,
    literals,
    matches,
    matches_glob,
    means_everything_below,
    rests,
)

#: Paths that Redis looks through with one command: 2 milliseconds, in which it answers nobody else.
_LOOKED_THROUGH_AT_ONCE = 1_000
_READ_AT_ONCE = 500
#: To have Redis look through a path costs this much less than to have it sent and look here.
_LOOKING_IS_CHEAPER = 10


class _Count:
    """Adds up what stands, each entry once."""

    def __init__(self, selector: Selector, now: float, pending: list[Invalidation], before: Mark | None) -> None:
        self._selector = selector
        self._now = now
        self._pending = pending
        self._before = before
        self._keys: set[bytes] = set()
        self.namespaces: dict[str, sums.Sum] = {}

    def add(self, key: bytes, row: CatalogRow) -> None:
        """Add an entry, if it is meant."""
        if (
            key not in self._keys
            and row.dead_at > self._now
            and (self._before is None or row.mark < self._before)
            and matches(self._selector, key, row)
            and not judge(self._pending, row.mark, key, row).is_gone
        ):
            self._keys.add(key)
            self.namespaces.setdefault(row.namespace, sums.Sum()).add(row)

    def reach(self) -> Reach:
        """Return what it came to."""
        found = self.namespaces
        return Reach(
            sum(its.entries for its in found.values()),
            sum(its.body_bytes for its in found.values()),
            sum(its.cost_usd_nanos for its in found.values()),
            {name: found[name].entries for name in sorted(found) if found[name].entries},
        )


async def survey(lane: Lane, keys: TenantKeys, selector: Selector, now: float) -> Reach:
    """Count what an invalidation would meet now."""
    pending = await read_pending(lane, keys)
    return await _survey(lane, keys, selector, now, pending, None, None)


async def survey_logged(lane: Lane, keys: TenantKeys, logged: Logged, now: float) -> Reach:
    """Count what an invalidation that has just been logged meets."""
    return await _survey(lane, keys, logged.one.selector, now, logged.earlier, logged.one.mark, logged.totals)


async def _survey(
    lane: Lane,
    keys: TenantKeys,
    selector: Selector,
    now: float,
    pending: list[Invalidation],
    before: Mark | None,
    totals: sums.Totals | None,
) -> Reach:
    hard = [one for one in pending if not one.is_soft]
    if not (selector.keys or selector.tags or selector.source is not None):
        totals = totals or await sums.read(lane, keys, now)
        if totals.are_whole:
            count = _Count(selector, now, hard, before)
            if await _add_scopes(lane, keys, selector, totals, count, has_pending=bool(hard), now=now):
                return count.reach()
    count = _Count(selector, now, hard, before)
    async for candidates in queries.candidates_of(lane, keys, selector):
        for key, row in candidates:
            if row is not None:
                count.add(key, row)
    return count.reach()


async def _add_scopes(
    lane: Lane,
    keys: TenantKeys,
    selector: Selector,
    totals: sums.Totals,
    count: _Count,
    *,
    has_pending: bool,
    now: float,
) -> bool:
    """Count by scope; False when what is dead has changed since the totals were read, so that rows have to be counted."""
    wholly: set[bytes] = set()
    partly: dict[bytes, sums.Sum] = {}
    for scope, its in _scopes(selector, totals).items():
        is_whole = selector.pattern is None or means_everything_below(selector.pattern, _prefix(scope))
        if is_whole and selector.stored_before is None and not has_pending:
            wholly.add(scope)
            count.namespaces.setdefault(decode_scope(scope)[0], sums.Sum()).add_sum(its)
        else:
            partly[scope] = its
    if wholly:
        for start in range(0, len(totals.dead), _READ_AT_ONCE):
            for _, row in await queries.read_rows(lane, keys, totals.dead[start : start + _READ_AT_ONCE]):
                if row is None or row.dead_at > now:
                    return False
                if row.scope in wholly:
                    count.namespaces[row.namespace].add(row, -1)
    async for found in _by_path(lane, keys, selector.pattern, partly):
        for key, row in await queries.read_rows(lane, keys, found):
            if row is not None and row.scope not in wholly:
                count.add(key, row)
    return True


def _scopes(selector: Selector, totals: sums.Totals) -> dict[bytes, sums.Sum]:
    """Return the scopes that have entries and the names that a selector asks for."""
    wanted = (selector.namespace, selector.dialect, selector.model)
    return {
        scope: its
        for scope, its in totals.scopes.items()
        if its.entries and all(want in (None, name) for want, name in zip(wanted, decode_scope(scope), strict=True))
    }


def _prefix(scope: bytes) -> str:
    """Return what the paths of a scope begin with."""
    return "/".join(decode_scope(scope)) + "/"


async def find(lane: Lane, keys: TenantKeys, selector: Selector, now: float) -> AsyncIterator[list[queries.Found]]:
    """Yield what `queries.find` does, by path where that surely leads to every row and is the shorter way."""
    pattern = selector.pattern
    if pattern is not None and not (selector.keys or selector.tags or selector.source is not None):
        totals = await sums.read(lane, keys, now)
        scopes = _scopes(selector, totals)
        most = sum(its.entries for scope, its in scopes.items() if means_everything_below(pattern, _prefix(scope)))
        if totals.lead_to_every_row(now) and most < sum(its.entries for its in totals.scopes.values()) / 2:
            async for names in _by_path(lane, keys, pattern, scopes):
                rows = await queries.read_rows(lane, keys, names)
                yield [(key, row) for key, row in rows if row is not None and matches(selector, key, row)]
            return
    async for found in queries.find(lane, keys, selector):
        yield found


def _beginnings(pattern: str | None, scopes: dict[bytes, sums.Sum]) -> list[str]:
    """Return what the paths of some scopes that match a glob begin with, none of them the beginning of another."""
    found: set[str] = set()
    for scope, its in scopes.items():
        prefix = _prefix(scope)
        for rest in {""} if pattern is None else rests(pattern, prefix):
            texts = literals(rest)
            if texts is not None and (its.slashed or not any("/" in text for text in texts)):
                found.add(prefix + literal_beginning(rest))
    shortest: list[str] = []
    for one in sorted(found):
        if not shortest or not one.startswith(shortest[-1]):
            shortest.append(one)
    return shortest


async def _by_path(
    lane: Lane, keys: TenantKeys, pattern: str | None, scopes: dict[bytes, sums.Sum]
) -> AsyncIterator[list[bytes]]:
    """Yield the cache keys of some scopes whose paths match a glob, and perhaps of others."""
    ranges = [(b"[" + one.encode(), b"(" + one.encode() + b"\xff") for one in _beginnings(pattern, scopes)]
    if not ranges:
        return
    total, *counts = await lane.ask(
        ("ZCARD", keys.by_path), *(("ZLEXCOUNT", keys.by_path, low, high) for low, high in ranges)
    )
    filters = _filters(pattern) if pattern is not None else []
    if filters and sum(counts) > total / _LOOKING_IS_CHEAPER:
        members = _filtered(lane, keys, filters)
    else:
        members = _in_ranges(lane, keys, ranges)
    found: list[bytes] = []
    async for some in members:
        for path, key in map(path_and_key, some):
            if pattern is None or matches_glob(pattern, path):
                found.append(key)
        while len(found) >= _READ_AT_ONCE:
            yield found[:_READ_AT_ONCE]
            found = found[_READ_AT_ONCE:]
    if found:
        yield found


def _filters(pattern: str) -> list[bytes]:
    """Return globs of Redis for members of the index of paths; each lets through all that match `pattern`, and others.

    With one star that can go wrong at most: older releases of Redis take exponential time for several.
    """
    texts = literals(pattern) or [""]
    longest, ending = (text.replace("\\", "\\\\").encode() for text in (max(texts, key=len), texts[-1]))
    filters = [b"*" + longest + b"*"] if longest else []
    if ending:
        filters.append(b"*" + ending + b"\0" + b"?" * KEY_BYTES)
    return filters


async def _filtered(lane: Lane, keys: TenantKeys, filters: list[bytes]) -> AsyncIterator[list[bytes]]:
    """Have Redis look through all paths, by the filter that lets the fewest of the first ones through."""

    def look(cursor: bytes, by: bytes) -> Command:
        return ("ZSCAN", keys.by_path, cursor, "MATCH", by, "COUNT", _LOOKED_THROUGH_AT_ONCE)

    tried = await lane.ask(*(look(b"0", by) for by in filters))
    best = min(range(len(filters)), key=lambda place: len(tried[place][1]))
    cursor, flat = tried[best]
    while True:
        yield flat[::2]
        if cursor == b"0":
            return
        ((cursor, flat),) = await lane.ask(look(cursor, filters[best]))


async def _in_ranges(lane: Lane, keys: TenantKeys, ranges: list[tuple[bytes, bytes]]) -> AsyncIterator[list[bytes]]:
    for first, high in ranges:
        low = first
        while True:
            (some,) = await lane.ask(("ZRANGEBYLEX", keys.by_path, low, high, "LIMIT", 0, _READ_AT_ONCE))
            if some:
                yield some
            if len(some) < _READ_AT_ONCE:
                break
            low = b"(" + some[-1]
