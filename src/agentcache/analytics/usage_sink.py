"""The gateway's usage sink, kept in the control plane's database."""

from __future__ import annotations

from functools import partial

from agentcache.analytics import services
from agentcache.gateway.ports import UsageEvent
from agentcache.jobs.database import DatabaseThreads

#: Longer than a look-up may take: nobody waits for it but the meter.
_WRITE_WITHIN_SECONDS = 10.0


class DjangoUsageSink:
    """Implements `gateway.ports.UsageSink`."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads

    async def write(self, events: list[UsageEvent]) -> None:
        """Keep the events, each exactly once by its id. Raises `Unavailable`; writing them again is harmless."""
        if events:
            work = partial(services.record_events, events)
            await self._threads.run(work, within_seconds=_WRITE_WITHIN_SECONDS)

    async def record_gap(self, worker: str, lost: int) -> None:
        """Note how many events died with a worker. Raises `Unavailable`."""
        await self._threads.run(partial(services.record_gap, worker, lost))
