"""What goes on in Redis behind everybody's back: rows of invalidations, of the dead and of what Redis evicted."""

from __future__ import annotations

from functools import partial

from agentcache.engine.entries import Mark
from agentcache.engine.stores import redis_queries as queries
from agentcache.engine.stores import redis_sums as sums
from agentcache.engine.stores import redis_writes as writes
from agentcache.engine.stores.invalidations import Invalidation
from agentcache.engine.stores.redis_keys import CatalogRow, TenantKeys, decode_row
from agentcache.engine.stores.redis_link import Lane
from agentcache.engine.stores.redis_log import LEASE_SECONDS, end_invalidation, prune_log
from agentcache.engine.stores.redis_reach import find
from agentcache.engine.stores.redis_writes import REMOVED_PER_TRANSACTION

#: Catalog rows that are checked per round for entries that Redis evicted by itself.
_SAMPLE = 200
_SAMPLE_ROUNDS = 20


async def work_off(lane: Lane, keys: TenantKeys, one: Invalidation, now: float) -> None:
    """Remove or mark the rows that an invalidation means, in short transactions, and note that it is done.

    May be done twice, or by two at once: what is written since is left alone.
    """
    is_meant = partial(_was_written_before, one.mark)
    async for found in find(lane, keys, one.selector, now):
        names = list(dict.fromkeys(key for key, row in found if row.mark < one.mark))
        for start in range(0, len(names), REMOVED_PER_TRANSACTION):
            some = names[start : start + REMOVED_PER_TRANSACTION]
            if one.is_soft:
                await writes.mark_stale(lane, keys, some, one.mark, one.at)
            else:
                await writes.remove_even_if_full(lane, keys, some, is_meant)
        await lane.ask(("PEXPIRE", keys.lease(one.mark), int(LEASE_SECONDS * 1000)))
    await end_invalidation(lane, keys, one.mark)


def _was_written_before(mark: Mark, row: CatalogRow | None) -> bool:
    return row is None or row.mark < mark


async def remove_dead(lane: Lane, keys: TenantKeys, now: float) -> int:
    """Remove one transaction's worth of entries that are past lifetime and grace; return how many."""
    (dead,) = await lane.ask(("ZRANGEBYSCORE", keys.by_death, "-inf", now, "LIMIT", 0, REMOVED_PER_TRANSACTION))
    if dead:
        await writes.remove(lane, keys, dead, partial(_is_dead, now))
        for key, row in await queries.read_rows(lane, keys, dead):
            # Nothing else takes out of the index what has no row. What was written anew meanwhile has its place.
            await lane.ask(("ZREM", keys.by_death, key) if row is None else ("ZADD", keys.by_death, row.dead_at, key))
    return len(dead)


def _is_dead(now: float, row: CatalogRow | None) -> bool:
    return row is None or row.dead_at <= now


async def forget_evicted(lane: Lane, keys: TenantKeys) -> None:
    """Take entries that Redis evicted out of the indexes, as long as a sample shows many."""
    for _ in range(_SAMPLE_ROUNDS):
        (sample,) = await lane.ask(("HRANDFIELD", keys.catalog, _SAMPLE))
        if not sample:
            return
        present = await lane.ask(*(("EXISTS", keys.entry(key)) for key in sample))
        missing = [key for key, there in zip(sample, present, strict=True) if not there]
        for start in range(0, len(missing), REMOVED_PER_TRANSACTION):
            await writes.remove(lane, keys, missing[start : start + REMOVED_PER_TRANSACTION])
        if len(missing) <= _SAMPLE // 10:
            return


async def tidy(lane: Lane, keys: TenantKeys, now: float) -> None:
    """Drop what nobody needs any more: of the log, of namespaces, of sums."""
    await prune_log(lane, keys, now)
    await sums.forget_empty(lane, keys)
    stats = await queries.read_stats(lane, keys)
    (names,) = await lane.ask(("SMEMBERS", keys.namespaces))
    empty = [name for name in names if name.decode() not in stats.namespaces]
    if empty:
        await lane.ask(("SREM", keys.namespaces, *empty))


async def mend_sums(lane: Lane, keys: TenantKeys, now: float) -> None:
    """Make the sums anew where they are not whole."""
    totals = await sums.read(lane, keys, now)
    if not totals.are_whole:
        await sums.make_anew(lane, keys)


async def evict_some(lane: Lane, keys: TenantKeys, excess: int) -> tuple[int, int]:
    """Evict up to a quarter of a transaction's worth, the least recently used; return entries and bytes."""
    (oldest,) = await lane.ask(("ZRANGE", keys.by_use, 0, REMOVED_PER_TRANSACTION // 4 - 1))
    if not oldest:
        return 0, 0
    chosen: list[bytes] = []
    freed = 0
    (packed,) = await lane.ask(("HMGET", keys.catalog, *oldest))
    for key, row in zip(oldest, map(decode_row, packed), strict=True):
        chosen.append(key)
        freed += row.memory_bytes if row is not None else 0
        if freed >= excess:
            break
    await writes.remove_even_if_full(lane, keys, chosen)
    return len(chosen), freed
