"""What changes in Redis, as optimistic transactions on one lane (WATCH, read, MULTI ... EXEC). No scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import structs
from redis.exceptions import ExecAbortError, OutOfMemoryError

from agentcache.engine.entries import Entry, Mark
from agentcache.engine.stores import redis_sums as sums
from agentcache.engine.stores.framing import TRAILER_BYTES, mark_trailer, stale_trailer
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.engine.stores.redis_keys import CatalogRow, TenantKeys, decode_row, encode_row
from agentcache.engine.stores.redis_link import ATTEMPTS, Command, Lane, step_back
from agentcache.engine.stores.redis_log import ensure_mark, is_superseded

REMOVED_PER_TRANSACTION = 100


@dataclass(frozen=True, slots=True)
class Framed:
    """An entry, ready to be written."""

    entry: Entry
    head: bytes


async def put(
    lane: Lane, keys: TenantKeys, framed: Framed, described: CatalogRow, since: Mark | None, now: float
) -> Put:
    """Write an entry with its index, unless a matching invalidation came after `since`."""
    entry = framed.entry
    name = keys.entry(entry.key)
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, (mark, floor), packed, summing = await lane.ask(
            ("WATCH", keys.log, keys.summing, name),
            ("HMGET", keys.log, "mark", "floor"),
            ("HGET", keys.catalog, entry.key),
            ("GET", keys.summing),
        )
        if since is not None and await is_superseded(lane, keys, entry, since, mark, floor):
            return Put.SUPERSEDED
        if mark is None:
            await lane.ask(("UNWATCH",))
            await ensure_mark(lane, keys)
            continue
        old = decode_row(packed)
        row = structs.replace(described, mark=int(mark), summed=sums.number_of(summing))
        results = await lane.transact(*writing(keys, framed, row, old, now))
        if results is not None:
            if old is not None and not results[0]:
                # Somebody removed the old row in between, and has taken it off the totals already.
                was_summed = bool(row.summed) and old.summed == row.summed
                await _correct(lane, keys, totals=[old], summed=[old] if was_summed else ())
            return Put.STORED
        await step_back(attempt)
    raise StoreUnavailable(f"{ATTEMPTS} writers of the same cache key got in each other's way: {described.path}")


def writing(keys: TenantKeys, framed: Framed, row: CatalogRow, old: CatalogRow | None, now: float) -> list[Command]:
    """Return what writes an entry in the place of `old`; the first reply says whether that was there."""
    key = framed.entry.key
    frame = b"".join((framed.head, framed.entry.body, mark_trailer(row.mark)))
    alive_ms = max(1, int((row.dead_at - now) * 1000))
    stale_labels = (old.labels - row.labels) if old is not None else set()
    body_bytes = row.body_bytes - (old.body_bytes if old is not None else 0)
    memory_bytes = row.memory_bytes - (old.memory_bytes if old is not None else 0)
    return [
        ("HDEL", keys.catalog, key),
        ("SET", keys.entry(key), frame, "PX", alive_ms),
        ("HSET", keys.catalog, key, encode_row(row)),
        ("ZADD", keys.by_age, row.stored_at, key),
        ("ZADD", keys.by_death, row.dead_at, key),
        ("ZADD", keys.by_use, now, key),
        ("HDEL", keys.hits, key),
        *(("SREM", keys.label(label), key) for label in stale_labels),
        *(("SADD", keys.label(label), key) for label in row.labels),
        ("SADD", keys.namespaces, row.namespace),
        ("HINCRBY", keys.totals, "body_bytes", body_bytes),
        ("HINCRBY", keys.totals, "memory_bytes", memory_bytes),
        *sums.adding(keys, row.summed, {key: row}, {key: old} if old is not None else {}),
    ]


def always(_row: CatalogRow | None) -> bool:
    """Say yes to every row."""
    return True


async def remove(
    lane: Lane,
    keys: TenantKeys,
    names: Sequence[bytes],
    is_meant: Callable[[CatalogRow | None], bool] = always,
) -> int:
    """Delete entries with all that belongs to them, and return how many were there.

    `is_meant` is asked in the transaction, of the row as it is then (None where it is not, or is unreadable).
    """
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, packed_rows, summing = await lane.ask(
            ("WATCH", keys.summing, *map(keys.entry, names)), ("HMGET", keys.catalog, *names), ("GET", keys.summing)
        )
        found = zip(names, map(decode_row, packed_rows), strict=True)
        rows = {key: row for key, row in found if is_meant(row)}
        if not rows:
            return 0
        number = sums.number_of(summing)
        results = await lane.transact(*_removing(keys, rows, number))
        if results is not None:
            there = results[: len(rows)]
            gone = [row for row, was_there in zip(rows.values(), there, strict=True) if row is not None and was_there]
            await _correct(lane, keys, totals=gone, times=-1)
            # Somebody else removed these in between, which nothing that is watched tells: they are off the sums twice.
            missed = [
                row for row, was_there in zip(rows.values(), there, strict=True) if row is not None and not was_there
            ]
            await _correct(lane, keys, summed=[row for row in missed if row.summed == number])
            return sum(there)
        # Redis before 7 fails a transaction that watches a key whose time is over, until something has looked at it.
        await lane.ask(("EXISTS", *map(keys.entry, names)))
        await step_back(attempt)
    raise StoreUnavailable("the entries to be removed keep changing")


async def remove_even_if_full(
    lane: Lane,
    keys: TenantKeys,
    names: Sequence[bytes],
    is_meant: Callable[[CatalogRow | None], bool] = always,
) -> int:
    """Do what `remove` does, in a Redis that is at its `maxmemory` too."""
    try:
        return await remove(lane, keys, names, is_meant)
    except (OutOfMemoryError, ExecAbortError):
        # A full Redis queues no transaction. Dropping the entries outside of one makes the room it needs; one that was
        # written anew meanwhile goes with them, which is a miss and nothing worse.
        await lane.ask(("DEL", *map(keys.entry, names)))
        return await remove(lane, keys, names)


async def mark_stale(lane: Lane, keys: TenantKeys, names: Sequence[bytes], before: Mark, stale_at: float) -> None:
    """Mark entries that were written at marks below `before` as outdated, unless they are since then or longer."""
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, packed_rows = await lane.ask(("WATCH", *map(keys.entry, names)), ("HMGET", keys.catalog, *names))
        lengths = await lane.ask(*(("STRLEN", keys.entry(key)) for key in names))
        commands: list[Command] = []
        for key, row, length in zip(names, map(decode_row, packed_rows), lengths, strict=True):
            if not length or row is None or row.mark >= before or (row.stale_at and row.stale_at <= stale_at):
                continue
            # Over the one that is there, or behind all.
            place = length - TRAILER_BYTES if row.stale_at else length
            commands.append(("SETRANGE", keys.entry(key), place, stale_trailer(stale_at)))
            commands.append(("HSET", keys.catalog, key, encode_row(structs.replace(row, stale_at=stale_at))))
        if not commands or await lane.transact(*commands) is not None:
            return
        await step_back(attempt)
    raise StoreUnavailable("the entries to be marked keep changing")


def _removing(keys: TenantKeys, rows: dict[bytes, CatalogRow | None], number: int) -> list[Command]:
    """Begin with those that say for each key whether it was there."""
    gone = list(rows)
    readable = {key: row for key, row in rows.items() if row is not None}
    by_label: dict[str, list[bytes]] = {}
    for key, row in readable.items():
        for label in row.labels:
            by_label.setdefault(label, []).append(key)
    commands: list[Command] = [("HDEL", keys.catalog, key) for key in gone]
    commands.append(("DEL", *map(keys.entry, gone)))
    commands += [("ZREM", index, *gone) for index in (keys.by_age, keys.by_death, keys.by_use)]
    commands.append(("HDEL", keys.hits, *gone))
    commands += [("SREM", keys.label(label), *members) for label, members in by_label.items()]
    return commands + sums.adding(keys, number, {}, readable)


async def _correct(
    lane: Lane,
    keys: TenantKeys,
    *,
    totals: Sequence[CatalogRow] = (),
    summed: Sequence[CatalogRow] = (),
    times: int = 1,
) -> None:
    """Add rows to the totals and to the sums, after the transaction that told what it had met."""
    commands = sums.changing(keys, summed, ())
    body_bytes = times * sum(row.body_bytes for row in totals)
    memory_bytes = times * sum(row.memory_bytes for row in totals)
    if body_bytes or memory_bytes:
        commands.append(("HINCRBY", keys.totals, "body_bytes", body_bytes))
        commands.append(("HINCRBY", keys.totals, "memory_bytes", memory_bytes))
    if commands:
        # Not worth failing for, and a full Redis may refuse: the totals only steer eviction, and sums that do not add up
        # are not used and are made anew.
        await lane.ask_each(*commands)


async def record_uses(lane: Lane, keys: TenantKeys, uses: dict[bytes, list[float]]) -> None:
    """Note hits, [count, last used at] by cache key, of entries that are still there."""
    (scores,) = await lane.ask(("ZMSCORE", keys.by_use, *uses))
    commands: list[Command] = []
    for (key, (count, used_at)), score in zip(uses.items(), scores, strict=True):
        if score is not None:
            commands.append(("ZADD", keys.by_use, "XX", "GT", used_at, key))
            commands.append(("HINCRBY", keys.hits, key, int(count)))
    if commands:
        await lane.ask_each(*commands)
