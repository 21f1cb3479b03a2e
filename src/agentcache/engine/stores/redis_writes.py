"""What changes in Redis, as optimistic transactions on one lane (WATCH, read, MULTI ... EXEC). No scripts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import msgspec
from msgspec import structs
from redis.exceptions import ExecAbortError, OutOfMemoryError

from agentcache.engine.entries import Entry, Mark, Selector
from agentcache.engine.stores.framing import stale_trailer
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.engine.stores.redis_keys import CatalogRow, TenantKeys, decode_row, encode_row
from agentcache.engine.stores.redis_link import Command, Lane
from agentcache.engine.stores.selection import matches

#: Invalidations stay in the log this long: longer than any fill takes.
LOG_SECONDS = 3600.0
#: Attempts at a transaction whose watched keys keep changing.
ATTEMPTS = 12
REMOVED_PER_TRANSACTION = 100


class LoggedInvalidation(msgspec.Struct, array_like=True):
    """One row of the invalidation log."""

    at: float
    selector: Selector


_encode_logged = msgspec.msgpack.Encoder().encode
_decode_logged = msgspec.msgpack.Decoder(LoggedInvalidation).decode


@dataclass(frozen=True, slots=True)
class Framed:
    """An entry, ready to be written."""

    entry: Entry
    frame: bytes
    row: CatalogRow


async def ensure_mark(lane: Lane, keys: TenantKeys) -> Mark:
    """Give a tenant that has none its first mark, above every mark there was before Redis lost its memory."""
    ((seconds, micros),) = await lane.ask(("TIME",))
    base = int(seconds) * 1_000_000 + int(micros)
    results = await lane.transact(
        ("HSETNX", keys.log, "floor", base), ("HSETNX", keys.log, "mark", base), ("HGET", keys.log, "mark")
    )
    assert results is not None, "nothing is watched"
    return int(results[-1])


async def put(lane: Lane, keys: TenantKeys, framed: Framed, since: Mark | None, now: float) -> Put:
    """Write an entry with its index, unless a matching invalidation came after `since`."""
    entry, row = framed.entry, framed.row
    name = keys.entry(entry.key)
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, (mark, floor), packed = await lane.ask(
            ("WATCH", keys.log, name), ("HMGET", keys.log, "mark", "floor"), ("HGET", keys.catalog, entry.key)
        )
        if since is not None and await _is_superseded(lane, keys, entry, since, mark, floor):
            return Put.SUPERSEDED
        old = decode_row(packed)
        results = await lane.transact(*_writing(keys, framed, old, now))
        if results is not None:
            if old is not None and not results[0]:
                # Somebody removed the old row in between, and has taken it off the totals already.
                await _add_totals(lane, keys, old.body_bytes, old.memory_bytes)
            return Put.STORED
        await _step_back(attempt)
    raise StoreUnavailable(f"{ATTEMPTS} writers of the same cache key got in each other's way: {row.path}")


def _writing(keys: TenantKeys, framed: Framed, old: CatalogRow | None, now: float) -> list[Command]:
    key, row = framed.entry.key, framed.row
    alive_ms = max(1, int((row.dead_at - now) * 1000))
    stale_labels = (old.labels - row.labels) if old is not None else set()
    body_bytes = row.body_bytes - (old.body_bytes if old is not None else 0)
    memory_bytes = row.memory_bytes - (old.memory_bytes if old is not None else 0)
    return [
        ("HDEL", keys.catalog, key),
        ("SET", keys.entry(key), framed.frame, "PX", alive_ms),
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
    ]


async def _is_superseded(
    lane: Lane, keys: TenantKeys, entry: Entry, since: Mark, mark: bytes | None, floor: bytes | None
) -> bool:
    if mark is None or floor is None:
        # Redis has lost its memory since the look-up: what was invalidated before is unknown.
        return True
    if since == int(mark):
        return False
    if since > int(mark) or since < int(floor):
        return True
    (flat,) = await lane.ask(("HGETALL", keys.log))
    for field, packed in zip(flat[::2], flat[1::2], strict=True):
        if field.isdigit() and int(field) > since and matches(_decode_logged(packed).selector, entry.key, entry.meta):
            return True
    return False


async def log_invalidation(lane: Lane, keys: TenantKeys, selector: Selector, now: float) -> None:
    """Raise the tenant's mark and note what was invalidated, so that no fill under way brings it back."""
    packed = _encode_logged(LoggedInvalidation(now, selector))
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, mark = await lane.ask(("WATCH", keys.log), ("HGET", keys.log, "mark"))
        if mark is None:
            await lane.ask(("UNWATCH",))
            await ensure_mark(lane, keys)
            continue
        raised = int(mark) + 1
        if await lane.transact(("HSET", keys.log, "mark", raised, str(raised), packed)) is not None:
            return
        await _step_back(attempt)
    raise StoreUnavailable("too many invalidations at once")


async def prune_log(lane: Lane, keys: TenantKeys, now: float) -> None:
    """Forget invalidations older than any fill under way; leaves it to the next sweep when the log changes."""
    lane.is_watching = True
    _, flat = await lane.ask(("WATCH", keys.log), ("HGETALL", keys.log))
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    old = [
        field for field, packed in fields.items() if field.isdigit() and _decode_logged(packed).at < now - LOG_SECONDS
    ]
    if old:
        floor = max(int(fields[b"floor"]), *map(int, old))
        await lane.transact(("HSET", keys.log, "floor", floor), ("HDEL", keys.log, *old))


async def remove(lane: Lane, keys: TenantKeys, found: dict[bytes, float | None]) -> list[CatalogRow | None]:
    """Delete entries with all that belongs to them; return the rows that were there (None where unreadable).

    With a time stored, an entry that was overwritten since stays.
    """
    names = list(found)
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, packed_rows = await lane.ask(("WATCH", *map(keys.entry, names)), ("HMGET", keys.catalog, *names))
        rows: dict[bytes, CatalogRow | None] = {}
        for key, packed in zip(names, packed_rows, strict=True):
            row, stored_at = decode_row(packed), found[key]
            if stored_at is None or row is None or row.stored_at == stored_at:
                rows[key] = row
        if not rows:
            return []
        results = await lane.transact(*_removing(keys, rows))
        if results is not None:
            gone = [row for (row, was_there) in zip(rows.values(), results, strict=False) if was_there]
            readable = [row for row in gone if row is not None]
            await _add_totals(
                lane,
                keys,
                -sum(row.body_bytes for row in readable),
                -sum(row.memory_bytes for row in readable),
            )
            return gone
        # Redis before 7 fails a transaction that watches a key whose time is over, until something has looked at it.
        await lane.ask(("EXISTS", *map(keys.entry, names)))
        await _step_back(attempt)
    raise StoreUnavailable("the entries to be removed keep changing")


async def remove_even_if_full(
    lane: Lane, keys: TenantKeys, found: dict[bytes, float | None]
) -> list[CatalogRow | None]:
    """Do what `remove` does, in a Redis that is at its `maxmemory` too."""
    try:
        return await remove(lane, keys, found)
    except (OutOfMemoryError, ExecAbortError):
        # A full Redis queues no transaction. Dropping the entries outside of one makes the room it needs; one that was
        # written anew meanwhile goes with them, which is a miss and nothing worse.
        await lane.ask(("DEL", *map(keys.entry, found)))
        return await remove(lane, keys, found)


async def mark_stale(lane: Lane, keys: TenantKeys, found: dict[bytes, CatalogRow], stale_at: float) -> None:
    """Mark entries as outdated, unless they are already or have been written anew since they were found."""
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, packed_rows = await lane.ask(("WATCH", *map(keys.entry, found)), ("HMGET", keys.catalog, *found))
        present = await lane.ask(*(("EXISTS", keys.entry(key)) for key in found))
        commands: list[Command] = []
        for (key, seen), packed, is_there in zip(found.items(), packed_rows, present, strict=True):
            row = decode_row(packed)
            if is_there and row is not None and row.stored_at == seen.stored_at and not row.stale_at:
                commands.append(("APPEND", keys.entry(key), stale_trailer(stale_at)))
                commands.append(("HSET", keys.catalog, key, encode_row(structs.replace(row, stale_at=stale_at))))
        if not commands:
            await lane.ask(("UNWATCH",))
            lane.is_watching = False
            return
        if await lane.transact(*commands) is not None:
            return
        await _step_back(attempt)
    raise StoreUnavailable("the entries to be marked keep changing")


def _removing(keys: TenantKeys, rows: dict[bytes, CatalogRow | None]) -> list[Command]:
    """Only commands that a full Redis still allows. The first ones say for each key whether it was there."""
    gone = list(rows)
    by_label: dict[str, list[bytes]] = {}
    for key, row in rows.items():
        for label in row.labels if row is not None else ():
            by_label.setdefault(label, []).append(key)
    commands: list[Command] = [("HDEL", keys.catalog, key) for key in gone]
    commands.append(("DEL", *map(keys.entry, gone)))
    commands += [("ZREM", index, *gone) for index in (keys.by_age, keys.by_death, keys.by_use)]
    commands.append(("HDEL", keys.hits, *gone))
    commands += [("SREM", keys.label(label), *members) for label, members in by_label.items()]
    return commands


async def _add_totals(lane: Lane, keys: TenantKeys, body_bytes: int, memory_bytes: int) -> None:
    if body_bytes or memory_bytes:
        # Not worth failing for: a full Redis may refuse, and the totals only steer eviction.
        await lane.ask_each(
            ("HINCRBY", keys.totals, "body_bytes", body_bytes), ("HINCRBY", keys.totals, "memory_bytes", memory_bytes)
        )


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


async def _step_back(attempt: int) -> None:
    """Let others finish first, longer each time; random, so that two do not dance."""
    await asyncio.sleep(random.random() * 0.0005 * (attempt + 1))  # noqa: S311 - no secret
