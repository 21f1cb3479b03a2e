"""What happens to usage later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from agentcache.analytics import back_fill, pruning
from agentcache.analytics.models import UsageEvent
from agentcache.analytics.rollup_tables import new_seen
from agentcache.analytics.services import BACK_FILL
from agentcache.jobs import services as jobs
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

_log = get_logger(__name__)
T = TypeVar("T")

PRUNE_EVENTS = "usage.prune"
PRUNE_ROLLUPS = "usage.prune_rollups"
#: For one piece of work; a job is made of many, so that other work of the database has its turn.
_PIECE_WITHIN_SECONDS = 120.0
_PRUNE_WITHIN_SECONDS = 600.0


async def prune_events(threads: DatabaseThreads, clock: Clock) -> None:
    """Delete each team's usage events beyond its plan's retention, unless some still have to be summed up."""
    if await _piece(threads, partial(jobs.is_waiting, BACK_FILL)):
        return
    pieces = 0
    for team_id, before_ms in await _piece(threads, partial(pruning.event_cutoffs, clock.now())):
        while await _piece(threads, partial(pruning.prune_events, team_id, before_ms)):
            pieces += 1
    if pieces:
        _log.info("usage_pruned", rows=pieces * pruning.EVENTS_AT_ONCE)


async def prune_rollups(threads: DatabaseThreads, clock: Clock) -> None:
    """Delete sums that are finer than their age allows."""
    deleted = await threads.run(partial(pruning.prune_rollups, clock.now()), within_seconds=_PRUNE_WITHIN_SECONDS)
    if deleted:
        _log.info("usage_sums_pruned", rows=deleted)


async def fill_rollups(threads: DatabaseThreads, clock: Clock) -> int:
    """Bring every event that is kept into the roll-ups; return how many hours were summed up anew."""
    hours = 0
    for team_id in await _piece(threads, partial(pruning.teams_in, UsageEvent)):
        for day in await _piece(threads, partial(back_fill.days_of, team_id)):
            seen = new_seen()
            for hour in await _piece(threads, partial(back_fill.lacking_hours, team_id, day, clock.now())):
                hours += await _piece(threads, partial(back_fill.sum_up, hour, clock.now(), seen))
    _log.info("usage_back_filled", hours=hours)
    return hours


async def _piece(threads: DatabaseThreads, work: Callable[[], T]) -> T:
    return await threads.run(work, within_seconds=_PIECE_WITHIN_SECONDS)
