"""Works jobs off: claims what is due, runs it, retries what failed, gives back what it cannot finish."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from agentcache.jobs import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.services import ClaimedJob, Lanes
from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger

T = TypeVar("T")

_log = get_logger(__name__)

#: What does a job, from its payload. It may be called again for a job that it has done: a worker can die in between.
JobFunction = Callable[[dict[str, object]], Awaitable[None]]

LEASE_SECONDS = 30.0
_POLL_SECONDS = 1.0
#: After a database failure the next question waits this long.
_DATABASE_PAUSE_SECONDS = 5.0
_DATABASE_WITHIN_SECONDS = 10.0
_JITTER_SHARE = 0.1


class GiveUp(AgentCacheError):
    """This job can never succeed; raised by a job function so that it is not tried again."""

    code = "job_given_up"


class TryAgain(AgentCacheError):
    """This job is to be done again later; raised by a job function that keeps its own schedule and counts its own tries."""

    code = "job_try_again"

    def __init__(self, after_seconds: float) -> None:
        super().__init__()
        self.after_seconds = after_seconds


class Pool(Enum):
    """Jobs that share room in a process. What waits for others' servers never holds up what is done in a moment."""

    #: Done in moments: mails, sweeps, prunings.
    QUICK = "quick"
    #: Waits for receivers that may hang.
    WEBHOOKS = "webhooks"
    #: Takes minutes or hours, and people watch it.
    TASKS = "tasks"


@dataclass(frozen=True, slots=True)
class Room:
    """How many jobs of a pool run at once, in all and of one lane."""

    jobs: int
    jobs_of_lane: int | None = None


#: A receiver that hangs holds two places for 15 s: the rest is for those that answer.
ROOMS: Mapping[Pool, Room] = MappingProxyType(
    {Pool.QUICK: Room(4), Pool.WEBHOOKS: Room(256, jobs_of_lane=2), Pool.TASKS: Room(8, jobs_of_lane=2)}
)


@dataclass(frozen=True, slots=True)
class JobKind:
    """How jobs of one name are done; with `period_seconds` there is always exactly one of them."""

    function: JobFunction
    period_seconds: float | None = None
    pool: Pool = Pool.QUICK


class Worker:
    """Runs up to `concurrency` jobs at once on the event loop, and of one lane up to `concurrency_of_lane`.

    A job is leased for `lease_seconds` and renewed while it runs, so the jobs of a killed worker start again elsewhere
    at most that long afterwards.
    """

    def __init__(
        self,
        threads: DatabaseThreads,
        kinds: Mapping[str, JobKind],
        *,
        clock: Clock | None = None,
        concurrency: int = ROOMS[Pool.QUICK].jobs,
        concurrency_of_lane: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
        database_pause_seconds: float = _DATABASE_PAUSE_SECONDS,
        keeps_periodic: bool = True,
    ) -> None:
        self._threads = threads
        self._kinds = kinds
        self._clock = clock or SystemClock()
        self._concurrency = concurrency
        self._concurrency_of_lane = concurrency_of_lane
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._database_pause_seconds = database_pause_seconds
        #: Of several workers in a process one keeps the rows of periodic jobs, for it deletes those it does not know.
        self._keeps_periodic = keeps_periodic
        self._running: dict[asyncio.Task[None], ClaimedJob] = {}
        self._room = asyncio.Event()

    async def run(self, stop: asyncio.Event, drain_seconds: float = 30.0) -> None:
        """Work until `stop` is set, then let running jobs end within `drain_seconds` and give back the others."""
        is_prepared = False
        while not stop.is_set():
            pause = self._poll_seconds
            # Before asking: a job that ends while the database is asked has made room, too.
            self._room.clear()
            try:
                if not is_prepared:
                    await self._prepare()
                    is_prepared = True
                if await self.start_due():
                    pause = 0.0
            except Unavailable as error:
                _log.warning("jobs_database_unavailable", reason=error.message)
                pause = self._database_pause_seconds
            await self._wait(stop, pause)
        await self._drain(drain_seconds)

    async def start_due(self) -> int:
        """Start what is due and there is room for; return how many jobs that was."""
        room = self._concurrency - len(self._running)
        if room <= 0:
            return 0
        running = Counter(job.lane for job in self._running.values() if job.lane)
        lanes = Lanes(self._concurrency_of_lane, running)
        claim = partial(services.claim_due, self._kinds, room, self._now(), self._lease_seconds, lanes)
        jobs = await self._database(claim)
        for job in jobs:
            task = asyncio.create_task(self._do(job), name=job.id)
            self._running[task] = job
            task.add_done_callback(self._ended)
        return len(jobs)

    async def settle(self) -> None:
        """Wait until no job is running."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _prepare(self) -> None:
        if not self._keeps_periodic:
            return
        periods = {name: kind.period_seconds for name, kind in self._kinds.items() if kind.period_seconds is not None}
        await self._database(partial(services.keep_periodic, periods, self._now()))

    async def _wait(self, stop: asyncio.Event, pause: float) -> None:
        # A full worker sleeps until a job ends, an idle one until it is time to ask again.
        is_full = len(self._running) >= self._concurrency
        waits = {asyncio.create_task(stop.wait()), asyncio.create_task(self._room.wait())}
        try:
            await asyncio.wait(waits, timeout=None if is_full else pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _do(self, job: ClaimedJob) -> None:
        started = self._clock.monotonic()
        renewal = asyncio.create_task(self._renew(job))
        try:
            await self._kinds[job.name].function(job.payload)
        except asyncio.CancelledError:
            await asyncio.shield(self._database(partial(services.release, job, self._now())))
            raise
        except TryAgain as error:
            due_at = self._now() + timedelta(seconds=error.after_seconds)
            await self._database(partial(services.postpone, job, due_at, _describe(error.__cause__ or error)))
            _log.info("job_postponed", job=job.name, job_id=job.id, retry_seconds=round(error.after_seconds))
        except Exception as error:  # noqa: BLE001 - whatever a job raises, the worker lives and the job is tried again
            await self._failed(job, error)
        else:
            kept = await self._database(partial(services.finish, job, self._now()))
            duration_ms = round((self._clock.monotonic() - started) * 1000)
            say = _log.info if job.period_seconds is None else _log.debug
            say(
                "job_done" if kept else "job_done_after_its_lease",
                job=job.name, job_id=job.id, attempt=job.attempt, duration_ms=duration_ms,
            )  # fmt: skip
        finally:
            renewal.cancel()

    async def _failed(self, job: ClaimedJob, error: Exception) -> None:
        now = self._now()
        described = _describe(error)
        give_up = isinstance(error, GiveUp)
        jitter = random.uniform(0, _JITTER_SHARE)  # noqa: S311 - spreads retries, guards nothing
        record = partial(services.fail, job, now, described, give_up=give_up, jitter=jitter)
        due_at = await self._database(record)
        fields = {"job": job.name, "job_id": job.id, "attempt": job.attempt, "reason": described}
        if due_at is None:
            _log.error("job_given_up", **fields)
        else:
            _log.warning("job_failed", retry_seconds=round((due_at - now).total_seconds()), **fields)

    async def _renew(self, job: ClaimedJob) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(Unavailable):
                await self._database(partial(services.renew, job, self._now(), self._lease_seconds))

    async def _drain(self, drain_seconds: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=drain_seconds)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The outcome could not be recorded; the lease runs out and the job is done once more.
            _log.warning("job_outcome_not_recorded", job_id=task.get_name(), reason=type(error).__name__)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)

    def _now(self) -> datetime:
        return services.at(self._clock.now())


class Workers:
    """One worker for each pool, in one process."""

    def __init__(
        self,
        threads: Mapping[Pool, DatabaseThreads],
        kinds: Mapping[str, JobKind],
        *,
        clock: Clock | None = None,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._workers = [
            Worker(
                threads[pool],
                {name: kind for name, kind in kinds.items() if kind.pool is pool},
                clock=clock,
                concurrency=room.jobs,
                concurrency_of_lane=room.jobs_of_lane,
                lease_seconds=lease_seconds,
                poll_seconds=poll_seconds,
                keeps_periodic=pool is Pool.QUICK,
            )
            for pool, room in ROOMS.items()
        ]
        if any(kind.period_seconds is not None and kind.pool is not Pool.QUICK for kind in kinds.values()):
            raise ValueError("periodic jobs are quick ones")

    async def run(self, stop: asyncio.Event, drain_seconds: float = 30.0) -> None:
        """Work until `stop` is set, then let running jobs end within `drain_seconds` and give back the others."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run(stop, drain_seconds))


def _describe(error: BaseException) -> str:
    code = getattr(error, "code", None)
    return f"{type(error).__name__}: {code}" if isinstance(code, str) else type(error).__name__
