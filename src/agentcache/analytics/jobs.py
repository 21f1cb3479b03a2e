"""What happens to usage later."""

from __future__ import annotations

from functools import partial

from agentcache.analytics import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

_log = get_logger(__name__)

#: How long single events are kept.
RETENTION_DAYS = 90
PRUNE_EVENTS = "usage.prune"
_PRUNE_WITHIN_SECONDS = 600.0


async def prune_events(threads: DatabaseThreads, clock: Clock) -> None:
    """Delete usage events beyond their retention."""
    before_ms = int((clock.now() - RETENTION_DAYS * 86400) * 1000)
    deleted = await threads.run(partial(services.prune_events, before_ms), within_seconds=_PRUNE_WITHIN_SECONDS)
    if deleted:
        _log.info("usage_pruned", rows=deleted)
