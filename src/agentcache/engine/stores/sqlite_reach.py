"""Which rows of the cache file a selector means: counted, priced, and found in slices. Read only.

There are three ways to the rows, each in time proportional to what it goes through: by row for keys, by link for tags
and sources, and for everything else by the index of paths, which begin with namespace, dialect and model and so are
ranges of that index, one for each combination that the tenant has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import apsw
import msgspec

from agentcache.engine.entries import Mark, Reach, Selector
from agentcache.engine.stores.selection import literal_beginning
from agentcache.engine.stores.sqlite_file import all_rows
from agentcache.engine.stores.sqlite_invalidations import pending_invalidations
from agentcache.engine.stores.sqlite_tenants import TenantRow
from agentcache.engine.stores.sqlite_writes import as_json, source_label, tag_label

Values: TypeAlias = list[str | float | bytes]
#: So many rows or fewer are looked up one by one, in the order of the index that names them; more are found in the
#: order in which they lie in the file, which is how deleting them touches each page once.
FEW_ROWS = 5_000
_SUMS = "count(*), coalesce(sum(c.body_bytes), 0), coalesce(sum(c.cost_nanos), 0)"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What follows WHERE, over `catalog c`; the text holds no value of a caller's."""

    clauses: tuple[str, ...] = ()
    values: tuple[str | float | bytes, ...] = ()

    def and_(self, clause: str, *values: str | float | bytes) -> Conditions:
        """Return these conditions and another one."""
        return Conditions((*self.clauses, clause), (*self.values, *values))

    def __add__(self, other: Conditions) -> Conditions:
        return Conditions((*self.clauses, *other.clauses), (*self.values, *other.values))

    @property
    def text(self) -> str:
        """The conditions in SQL; every one has to hold."""
        return " AND ".join(self.clauses) or "1"


def selected(owner: TenantRow, selector: Selector) -> Conditions:
    """Return all conditions of a selector, the tenant's own among them."""
    found = Conditions().and_("c.tenant = ?", owner.number) + _details(selector)
    for column, wanted in (
        ("namespace", selector.namespace), ("dialect", selector.dialect), ("model", selector.model)
    ):  # fmt: skip
        if wanted is not None:
            clause = f"c.scope IN (SELECT id FROM scopes WHERE tenant = ? AND {column} = ?)"  # noqa: S608 - our own words
            found = found.and_(clause, owner.number, wanted)
    if selector.tags:
        found += _linked(owner, [tag_label(tag) for tag in selector.tags])
    if selector.source is not None:
        found += _linked(owner, [source_label(selector.source)])
    if selector.keys:
        ids = as_json([owner.row_id(key) for key in selector.keys])
        found = found.and_("c.id IN (SELECT value FROM json_each(?))", ids)
    return found


def _details(selector: Selector) -> Conditions:
    found = Conditions()
    if selector.pattern is not None:
        found = found.and_("c.path GLOB ?", selector.pattern)
    if selector.stored_before is not None:
        found = found.and_("c.stored_at <= ?", selector.stored_before)
    return found


def _linked(owner: TenantRow, labels: list[str]) -> Conditions:
    return Conditions().and_(
        "c.id IN (SELECT id FROM links WHERE tenant = ? AND label IN (SELECT value FROM json_each(?)))",
        owner.number,
        as_json(labels),
    )


def still_there(connection: apsw.Connection, owner: TenantRow, *, before: Mark | None = None) -> Conditions:
    """Return what leaves out the rows that a pending invalidation has removed in all but fact.

    With `before`, only invalidations before that mark count.
    """
    found = Conditions()
    for one in pending_invalidations(connection, owner):
        if not one.is_soft and (before is None or one.mark < before):
            gone = selected(owner, one.selector).and_("c.mark < ?", one.mark)
            found = found.and_(f"NOT ({gone.text})", *gone.values)
    return found


def survey(
    connection: apsw.Connection, owner: TenantRow, selector: Selector, now: float, *, before: Mark | None = None
) -> Reach:
    """Count what a selector means and is not past lifetime and grace; with `before`, of the rows with smaller marks."""
    common = still_there(connection, owner, before=before).and_("c.dead_at > ?", now)
    if before is not None:
        common = common.and_("c.mark < ?", before)
    if selector.keys:
        return _total(connection, _sums_of_keys(connection, owner, selector, common))
    if selector.tags or selector.source is not None:
        # Not by an index of the tenant's: the links name the rows.
        where = selected(owner, selector) + common
        query = f"SELECT c.scope, {_SUMS} FROM catalog c NOT INDEXED WHERE {where.text} GROUP BY c.scope"  # noqa: S608 - our own words
        return _total(connection, all_rows(connection, query, list(where.values)))
    return _total(connection, _sums_of_ranges(connection, owner, selector, common))


def _total(connection: apsw.Connection, sums: Any) -> Reach:
    """Add up rows of (scope, entries, bytes, cost)."""
    entries = body_bytes = cost = 0
    by_scope: Counter[int] = Counter()
    for scope, its_entries, its_bytes, its_cost in sums:
        entries += its_entries
        body_bytes += its_bytes
        cost += its_cost
        by_scope[scope] += its_entries
    namespaces: Counter[str] = Counter()
    for scope, its_entries in by_scope.items():
        if its_entries:
            for (namespace,) in all_rows(connection, "SELECT namespace FROM scopes WHERE id = ?", (scope,)):
                namespaces[namespace] += its_entries
    return Reach(entries, body_bytes, cost, dict(sorted(namespaces.items())))


def _sums_of_keys(
    connection: apsw.Connection, owner: TenantRow, selector: Selector, common: Conditions
) -> Iterator[tuple[int, int, int, int]]:
    where = _without_keys(owner, selector) + common
    query = (
        "SELECT c.scope, 1, c.body_bytes, c.cost_nanos FROM catalog c JOIN entries e ON e.id = c.id "  # noqa: S608 - our own words
        f"WHERE c.id = ? AND e.key = ? AND {where.text}"
    )
    for key in dict.fromkeys(selector.keys):
        yield from all_rows(connection, query, [owner.row_id(key), key, *where.values])


def _without_keys(owner: TenantRow, selector: Selector) -> Conditions:
    return selected(owner, msgspec.structs.replace(selector, keys=()))


def _sums_of_ranges(
    connection: apsw.Connection, owner: TenantRow, selector: Selector, common: Conditions
) -> Iterator[tuple[int, int, int, int]]:
    for scope, place in _ranges(connection, owner, selector):
        where = place + common
        query = f"SELECT {_SUMS} FROM catalog c INDEXED BY catalog_by_path WHERE {where.text}"  # noqa: S608 - our own words
        for sums in all_rows(connection, query, list(where.values)):
            yield (scope, *sums)


def _ranges(connection: apsw.Connection, owner: TenantRow, selector: Selector) -> Iterator[tuple[int, Conditions]]:
    """Yield the parts of the index of paths where matching rows can be, each with its scope and what must hold there."""
    literal = literal_beginning(selector.pattern) if selector.pattern is not None else ""
    scopes = all_rows(
        connection,
        "SELECT id, namespace, dialect, model FROM scopes WHERE tenant = ? AND entries > 0",
        (owner.number,),
    )
    for scope, *names in scopes:
        wanted = (selector.namespace, selector.dialect, selector.model)
        if any(want is not None and want != name for want, name in zip(wanted, names, strict=True)):
            continue
        prefix = "/".join(names) + "/"
        if not (prefix.startswith(literal) or literal.startswith(prefix)):
            continue
        low = max(prefix, literal, key=len)
        # In the order of the index, so that it is read from the first to the last row that may match.
        where = Conditions().and_("c.tenant = ? AND c.path >= ?", owner.number, low)
        high = _beyond(low)
        if high:
            where = where.and_("c.path < ?", high)
        details = _details(selector)
        if selector.pattern == f"{literal}*":
            # The range is the pattern; comparing a million paths with it once more would take longer than counting them.
            details = _details(Selector(stored_before=selector.stored_before))
        yield scope, where.and_("c.scope = ?", scope) + details


def _beyond(prefix: str) -> str:
    """Return the smallest text that sorts after everything with a prefix; empty when there is none."""
    while prefix:
        following = ord(prefix[-1]) + 1
        if following <= 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)
        prefix = prefix[:-1]
    return ""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a search for rows has come: the label that is searched, and the last row id of it."""

    label: int = 0
    after: int = -(2**63)


def find_slice(
    connection: apsw.Connection, owner: TenantRow, selector: Selector, before: Mark, place: Place, limit: int
) -> tuple[list[int], Place | None]:
    """Return up to `limit` row ids from `place` on, dead ones too, and where to go on; None at the end."""
    common = Conditions().and_("c.mark < ?", before)
    labels, rest = _labels(selector)
    if selector.keys:
        where = _without_keys(owner, selector) + common
        query = f"SELECT c.id FROM catalog c WHERE c.id = ? AND {where.text}"  # noqa: S608 - our own words
        ids = [owner.row_id(key) for key in dict.fromkeys(selector.keys)]
        return [row_id for one in ids for (row_id,) in all_rows(connection, query, [one, *where.values])], None
    where = selected(owner, rest) + common
    if labels:
        # `+` keeps the tenant's indexes out of it: the links of one label lie in the order of the row ids.
        query = (
            "SELECT l.id FROM links l CROSS JOIN catalog c ON c.id = l.id "  # noqa: S608 - our own words
            f"WHERE l.tenant = ? AND l.label = ? AND l.id > ? AND {where.text} ORDER BY l.id LIMIT ?"
        )
        values: Values = [owner.number, labels[place.label], place.after, *where.values, limit]
        found = [row_id for (row_id,) in all_rows(connection, query, values)]
        if len(found) == limit:
            return found, Place(place.label, found[-1])
        return found, Place(place.label + 1) if place.label + 1 < len(labels) else None
    query = f"SELECT c.id FROM catalog c NOT INDEXED WHERE c.id > ? AND {where.text} ORDER BY c.id LIMIT ?"  # noqa: S608 - our own words
    found = [row_id for (row_id,) in all_rows(connection, query, [place.after, *where.values, limit])]
    return found, Place(0, found[-1]) if len(found) == limit else None


def _labels(selector: Selector) -> tuple[list[str], Selector]:
    """Return the labels that lead to everything a selector means, and what else has to hold."""
    if selector.tags:
        return [tag_label(tag) for tag in selector.tags], msgspec.structs.replace(selector, tags=())
    if selector.source is not None:
        return [source_label(selector.source)], msgspec.structs.replace(selector, source=None)
    return [], selector


def which(
    connection: apsw.Connection, owner: TenantRow, selector: Selector, keys: Sequence[bytes], now: float
) -> set[bytes]:
    """Return those of `keys` whose entries a selector without keys means now."""
    where = selected(owner, selector) + still_there(connection, owner)
    query = (
        "SELECT 1 FROM catalog c JOIN entries e ON e.id = c.id "  # noqa: S608 - our own words
        f"WHERE c.id = ? AND e.key = ? AND {where.text} AND c.dead_at > ?"
    )
    return {key for key in keys if all_rows(connection, query, [owner.row_id(key), key, *where.values, now])}


def find_few(connection: apsw.Connection, owner: TenantRow, selector: Selector, before: Mark) -> list[int]:
    """Return the ids of all rows that a selector without keys, tags and source means: of few, by the index of paths."""
    found: list[int] = []
    for _, place in _ranges(connection, owner, selector):
        where = place.and_("c.mark < ?", before)
        query = f"SELECT c.id FROM catalog c INDEXED BY catalog_by_path WHERE {where.text}"  # noqa: S608 - our own words
        found += [row_id for (row_id,) in all_rows(connection, query, list(where.values))]
    return sorted(found)
