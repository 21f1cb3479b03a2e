"""What is done for listeners now and then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.listeners.models import ListenerEvent
from agentcache.listeners.services import turns

PRUNE = "listeners.prune"
PRUNE_EVERY_SECONDS = 3600.0
#: How long it is kept what happened to a listener.
EVENTS_DAYS = 90
#: How long after the last request it is remembered when a host may be asked.
_HOST_HOURS = 1
_PRUNE_WITHIN_SECONDS = 600.0


class Pruning:
    """Does jobs of `PRUNE`."""

    def __init__(self, threads: DatabaseThreads, clock: Clock) -> None:
        self._threads = threads
        self._clock = clock

    async def __call__(self, _payload: dict[str, object]) -> None:
        """Delete what is too old by now."""
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        await self._threads.run(partial(prune, now), within_seconds=_PRUNE_WITHIN_SECONDS)


def prune(now: datetime) -> int:
    """Delete what is too old; return how many events that were."""
    turns.forget_hosts(now - timedelta(hours=_HOST_HOURS))
    # Crosses tenants: it serves them all.
    return ListenerEvent.objects.filter(at__lt=now - timedelta(days=EVENTS_DAYS)).delete()[0]
