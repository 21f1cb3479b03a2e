"""The gateway's job queue, kept in the control plane's database."""

from __future__ import annotations

from functools import partial

from agentcache.jobs import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.ids import new_id


class DatabaseJobQueue:
    """Implements `gateway.ports.JobQueue`: a job is a committed row when `enqueue` returns."""

    def __init__(self, threads: DatabaseThreads, clock: Clock | None = None) -> None:
        self._threads = threads
        self._clock = clock or SystemClock()

    async def enqueue(self, name: str, payload: dict[str, object], *, delay_seconds: float = 0.0) -> None:
        """Keep a job; durable when it returns. Raises `Unavailable`."""
        due_at = services.at(self._clock.now() + delay_seconds)
        await self._threads.run(partial(services.enqueue, new_id(), name, payload, due_at))
