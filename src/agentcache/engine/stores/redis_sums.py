"""What each scope of a tenant (namespace, dialect, model) comes to in Redis, kept up with every entry.

With a million entries, counting row by row takes seconds; these sums and the index of paths answer at once. They have a
number: a row says under which one it was added. So they can be made anew while entries come and go (`make_anew`), which a
sweep does where there are none yet, or where they do not add up because an earlier release wrote there too. Until they are
whole, rows are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import structs

from agentcache.engine.stores.redis_keys import CatalogRow, TenantKeys, decode_row, encode_row
from agentcache.engine.stores.redis_link import ATTEMPTS, Command, Lane, step_back

_ENTRIES, _BODY_BYTES, _COST, _SLASHED = b"n", b"b", b"c", b"s"
#: Behind the number of sums that have every row in them.
_WHOLE = b"+"
#: Rows that are past lifetime and grace and not swept yet are taken off one by one; with more of them rows are counted.
_DEAD_MAX = 5_000
#: Longer than it takes to replace all workers by those of this release.
_UPGRADE_SECONDS = 86_400.0
_ADDED_AT_ONCE = 100
_SCANNED_AT_ONCE = 500


@dataclass(slots=True)
class Sum:
    """What some entries come to; money is 1e-9 USD."""

    entries: int = 0
    body_bytes: int = 0
    cost_usd_nanos: int = 0
    #: Those whose label has a slash in it. Without any, a slash of a pattern can only be one between namespace and label.
    slashed: int = 0

    def add(self, row: CatalogRow, times: int = 1) -> None:
        """Add a row, or take it off with -1."""
        self.entries += times
        self.body_bytes += times * row.body_bytes
        self.cost_usd_nanos += times * row.cost_usd_nanos
        self.slashed += times * ("/" in row.label)

    def add_sum(self, other: Sum) -> None:
        """Add what others come to."""
        self.entries += other.entries
        self.body_bytes += other.body_bytes
        self.cost_usd_nanos += other.cost_usd_nanos


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums at one moment."""

    scopes: dict[bytes, Sum]
    #: Those among them that are past lifetime and grace.
    dead: list[bytes]
    #: Whether every row is in them.
    are_whole: bool
    #: When they were begun, Unix seconds of Redis; 0 where there are none.
    begun_at: float = 0.0

    def lead_to_every_row(self, now: float) -> bool:
        """Say whether the index of paths can be relied upon, not only to count.

        An earlier release knows nothing of it, and there may be workers of one until an upgrade is over.
        """
        return self.are_whole and now - self.begun_at > _UPGRADE_SECONDS


def number_of(summing: bytes | None) -> int:
    """Return the number under which rows are to be added; 0 when they are not to be."""
    return int(summing.rstrip(_WHOLE)) if summing else 0


def whole(number: int) -> bytes:
    """Return what is stored for sums that have every row in them."""
    return b"%d%s" % (number, _WHOLE)


def asking(keys: TenantKeys, now: float) -> list[Command]:
    """Return what asks for the totals, inside of a transaction; see `told`."""
    return [
        ("GET", keys.summing),
        ("HLEN", keys.catalog),
        ("ZCARD", keys.by_path),
        ("HGETALL", keys.sums),
        ("ZRANGEBYSCORE", keys.by_death, "-inf", now, "LIMIT", 0, _DEAD_MAX + 1),
    ]


def told(replies: list[object]) -> Totals:
    """Return the totals from the replies to `asking`."""
    summing, rows, paths, flat, dead = replies
    assert isinstance(flat, list)
    assert isinstance(dead, list)
    scopes: dict[bytes, Sum] = defaultdict(Sum)
    for name, value in zip(flat[::2], map(int, flat[1::2]), strict=True):
        its = scopes[name[1:]]
        if name[:1] == _ENTRIES:
            its.entries = value
        elif name[:1] == _BODY_BYTES:
            its.body_bytes = value
        elif name[:1] == _COST:
            its.cost_usd_nanos = value
        else:
            its.slashed = value
    is_whole = isinstance(summing, bytes) and summing.endswith(_WHOLE)
    adds_up = rows == paths == sum(its.entries for its in scopes.values()) and len(dead) <= _DEAD_MAX
    begun_at = number_of(summing) / 1e6 if isinstance(summing, bytes) else 0.0
    return Totals(dict(scopes), dead, is_whole and adds_up, begun_at)


async def read(lane: Lane, keys: TenantKeys, now: float) -> Totals:
    """Return the totals of this moment."""
    replies = await lane.transact(*asking(keys, now))
    assert replies is not None, "nothing is watched"
    return told(replies)


def adding(
    keys: TenantKeys, number: int, added: dict[bytes, CatalogRow], taken: dict[bytes, CatalogRow]
) -> list[Command]:
    """Return what adds rows to the sums and takes others off that were in them, by cache key."""
    if not number:
        return []
    off = {key: row for key, row in taken.items() if row.summed == number}
    changes = changing(keys, added.values(), off.values())
    here = {row.member(key) for key, row in added.items()}
    gone = {row.member(key) for key, row in off.items()}
    if gone - here:
        changes.append(("ZREM", keys.by_path, *(gone - here)))
    if here:
        # Also what seems to be there: somebody may have removed it since it was seen.
        changes.append(("ZADD", keys.by_path, *(word for member in here for word in (0, member))))
    return changes


def changing(keys: TenantKeys, added: Iterable[CatalogRow], taken: Iterable[CatalogRow]) -> list[Command]:
    """Return what changes the sums alone."""
    changes: dict[bytes, Sum] = defaultdict(Sum)
    for row in added:
        changes[row.scope].add(row)
    for row in taken:
        changes[row.scope].add(row, -1)
    return [
        ("HINCRBY", keys.sums, kind + scope, change)
        for scope, its in changes.items()
        for kind, change in (
            (_ENTRIES, its.entries),
            (_BODY_BYTES, its.body_bytes),
            (_COST, its.cost_usd_nanos),
            (_SLASHED, its.slashed),
        )
        if change
    ]


async def make_anew(lane: Lane, keys: TenantKeys) -> None:
    """Add all rows up under a new number; leaves it to the next sweep when somebody else has begun that too."""
    ((seconds, micros),) = await lane.ask(("TIME",))
    number = int(seconds) * 1_000_000 + int(micros)
    await lane.transact(("SET", keys.summing, number), ("UNLINK", keys.sums, keys.by_path))
    cursor = b"0"
    while True:
        ((cursor, flat),) = await lane.ask(("HSCAN", keys.catalog, cursor, "COUNT", _SCANNED_AT_ONCE))
        left = [
            key
            for key, row in zip(flat[::2], map(decode_row, flat[1::2]), strict=True)
            if row is not None and row.summed != number
        ]
        for start in range(0, len(left), _ADDED_AT_ONCE):
            if not await _add(lane, keys, number, left[start : start + _ADDED_AT_ONCE]):
                return
        if cursor == b"0":
            break
    lane.is_watching = True
    _, summing = await lane.ask(("WATCH", keys.summing), ("GET", keys.summing))
    if number_of(summing) == number:
        await lane.transact(("SET", keys.summing, whole(number)))


async def _add(lane: Lane, keys: TenantKeys, number: int, names: list[bytes]) -> bool:
    """Add rows under a number; False when it is not the number any more."""
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, summing, packed_rows = await lane.ask(
            ("WATCH", keys.summing, *map(keys.entry, names)), ("GET", keys.summing), ("HMGET", keys.catalog, *names)
        )
        if number_of(summing) != number:
            return False
        present = await lane.ask(*(("EXISTS", keys.entry(key)) for key in names))
        added = {
            key: structs.replace(row, summed=number)
            for key, is_there, row in zip(names, present, map(decode_row, packed_rows), strict=True)
            # Without its entry it is about to be removed, which changes nothing that is watched.
            if is_there and row is not None and row.summed != number
        }
        commands: list[Command] = [("HSET", keys.catalog, key, encode_row(row)) for key, row in added.items()]
        if not added or await lane.transact(*commands, *adding(keys, number, added, {})) is not None:
            return True
        await step_back(attempt)
    return False


async def forget_empty(lane: Lane, keys: TenantKeys) -> None:
    """Drop the sums of scopes that have no entries; leaves it to the next sweep when they change meanwhile."""
    lane.is_watching = True
    _, flat = await lane.ask(("WATCH", keys.sums), ("HGETALL", keys.sums))
    empty = [name for name, value in zip(flat[::2], flat[1::2], strict=True) if value == b"0"]
    if empty:
        await lane.transact(("HDEL", keys.sums, *empty))
