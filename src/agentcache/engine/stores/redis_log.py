"""The log of invalidations in Redis, and the mark with those of them that still have rows to deal with, in one short string.

A look-up reads that string in one command with the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from agentcache.engine.entries import Entry, Mark, Selector
from agentcache.engine.stores import redis_sums as sums
from agentcache.engine.stores.invalidations import LOG_SECONDS, Invalidation
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.redis_keys import TenantKeys
from agentcache.engine.stores.redis_link import ATTEMPTS, Command, Lane, step_back
from agentcache.engine.stores.selection import matches

#: So long a worker has the rows of an invalidation to itself, from the last of them on that it has dealt with.
LEASE_SECONDS = 30.0


class LoggedInvalidation(msgspec.Struct, array_like=True):
    """One row of the log."""

    at: float
    selector: Selector
    #: Rows of earlier releases do not say; nothing is pending of theirs.
    is_soft: bool = False


_encode_logged = msgspec.msgpack.Encoder().encode
_decode_logged = msgspec.msgpack.Decoder(LoggedInvalidation).decode


@dataclass(frozen=True, slots=True)
class Logged:
    """An invalidation that is final now, those before it that are pending, and the totals at that moment."""

    one: Invalidation
    earlier: list[Invalidation]
    totals: sums.Totals


def micros(time: list[bytes]) -> int:
    """Return what `TIME` says, in microseconds."""
    return int(time[0]) * 1_000_000 + int(time[1])


async def ensure_mark(lane: Lane, keys: TenantKeys) -> Mark:
    """Give a tenant that has none its first mark, above every mark there was before Redis lost its memory."""
    (time,) = await lane.ask(("TIME",))
    base = micros(time)
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, logged, marks, rows = await lane.ask(
            ("WATCH", keys.log, keys.marks, keys.catalog),
            ("HGET", keys.log, "mark"), ("GET", keys.marks), ("HLEN", keys.catalog),
        )  # fmt: skip
        if logged is not None and marks is not None:
            await lane.ask(("UNWATCH",))
            lane.is_watching = False
            return mark_in(marks)
        mark = int(logged) if logged is not None else base
        # Where there are no rows, sums are whole from the beginning; where there are, the next sweep makes them.
        summing: list[Command] = [] if rows else [("SET", keys.summing, sums.whole(base), "NX")]
        first: Command = ("HSET", keys.log, "floor", mark, "mark", mark)
        done = await lane.transact(*([first] if logged is None else []), ("SET", keys.marks, mark), *summing)
        if done is not None:
            return mark
        await step_back(attempt)
    raise StoreUnavailable("the first mark keeps changing")


async def log_invalidation(lane: Lane, keys: TenantKeys, selector: Selector, now: float, *, is_soft: bool) -> Logged:
    """Raise the tenant's mark and note what is invalidated; no fill under way brings it back, and no look-up sees it."""
    packed = _encode_logged(LoggedInvalidation(now, selector, is_soft))
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, mark, marks, time = await lane.ask(
            ("WATCH", keys.log, keys.marks), ("HGET", keys.log, "mark"), ("GET", keys.marks), ("TIME",)
        )
        if mark is None or marks is None:
            await lane.ask(("UNWATCH",))
            await ensure_mark(lane, keys)
            continue
        # By the clock, so that a Redis that has come back without the last invalidations never gives a mark twice.
        raised = max(int(mark) + 1, micros(time))
        earlier = pending_in(marks)
        results = await lane.transact(
            ("HSET", keys.log, "mark", raised, str(raised), packed),
            ("SET", keys.marks, _as_marks(raised, [*earlier, raised])),
            ("SET", keys.lease(raised), b"", "PX", int(LEASE_SECONDS * 1000)),
            *sums.asking(keys, now),
        )
        if results is not None:
            return Logged(
                Invalidation(raised, now, selector, is_soft),
                await read_invalidations(lane, keys, earlier),
                sums.told(results[3:]),
            )
        await step_back(attempt)
    raise StoreUnavailable("too many invalidations at once")


def mark_in(marks: bytes) -> Mark:
    """Return a tenant's mark."""
    return int(marks.partition(b" ")[0])


def pending_in(marks: bytes | None) -> list[Mark]:
    """Return the marks of a tenant's pending invalidations."""
    return [int(mark) for mark in marks.split()[1:]] if marks else []


def _as_marks(mark: Mark, pending: Iterable[Mark]) -> bytes:
    return b" ".join(b"%d" % one for one in (mark, *pending))


async def read_invalidations(lane: Lane, keys: TenantKeys, marks: Sequence[Mark]) -> list[Invalidation]:
    """Return logged invalidations."""
    if not marks:
        return []
    (rows,) = await lane.ask(("HMGET", keys.log, *map(str, marks)))
    found = []
    for mark, packed in zip(marks, rows, strict=True):
        # Of one whose row is gone nobody knows what it means, so it means everything.
        logged = _decode_logged(packed) if packed is not None else LoggedInvalidation(0.0, Selector())
        found.append(Invalidation(mark, logged.at, logged.selector, logged.is_soft))
    return found


async def read_pending(lane: Lane, keys: TenantKeys) -> list[Invalidation]:
    """Return the invalidations that still have rows to deal with."""
    (marks,) = await lane.ask(("GET", keys.marks))
    return await read_invalidations(lane, keys, pending_in(marks))


async def end_invalidation(lane: Lane, keys: TenantKeys, mark: Mark) -> None:
    """Note that every row that an invalidation means has been dealt with."""
    for attempt in range(ATTEMPTS):
        lane.is_watching = True
        _, marks = await lane.ask(("WATCH", keys.marks), ("GET", keys.marks))
        if marks is None:
            return
        noting: Command = (
            "SET",
            keys.marks,
            _as_marks(mark_in(marks), (one for one in pending_in(marks) if one != mark)),
        )
        if await lane.transact(noting, ("DEL", keys.lease(mark))) is not None:
            return
        await step_back(attempt)
    raise StoreUnavailable("too many invalidations at once")


async def lease_one(lane: Lane, keys: TenantKeys) -> Invalidation | None:
    """Return a pending invalidation that nobody deals with, and have it to oneself; None when there is none."""
    for one in await read_pending(lane, keys):
        (taken,) = await lane.ask(("SET", keys.lease(one.mark), b"", "NX", "PX", int(LEASE_SECONDS * 1000)))
        if taken is not None:
            return one
    return None


async def is_superseded(
    lane: Lane, keys: TenantKeys, entry: Entry, since: Mark, mark: bytes | None, floor: bytes | None
) -> bool:
    """Say whether an invalidation after `since` means the entry; the log has to be watched."""
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


async def prune_log(lane: Lane, keys: TenantKeys, now: float) -> None:
    """Forget invalidations that are older than any fill under way and have nothing left to do.

    Leaves it to the next sweep when the log changes.
    """
    lane.is_watching = True
    _, flat, marks = await lane.ask(("WATCH", keys.log, keys.marks), ("HGETALL", keys.log), ("GET", keys.marks))
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    needed = set(pending_in(marks))
    old = [
        field
        for field, packed in fields.items()
        if field.isdigit() and int(field) not in needed and _decode_logged(packed).at < now - LOG_SECONDS
    ]
    if old:
        floor = max(int(fields[b"floor"]), *map(int, old))
        # An earlier release may have raised the mark in the log alone.
        mending: Command = ("SET", keys.marks, _as_marks(int(fields[b"mark"]), pending_in(marks)))
        await lane.transact(("HSET", keys.log, "floor", floor), ("HDEL", keys.log, *old), mending)
