"""Does tasks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp, TryAgain
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.tasks import services
from agentcache.tasks.errors import TaskCancelled, TaskTakenOver
from agentcache.tasks.models import Task, TaskState
from agentcache.tasks.services import BegunTask, Progress

PRUNE = "tasks.prune"
PRUNE_EVERY_SECONDS = 3600.0
#: Pauses after the first, second, … failure in a row; after the last the task has failed. Steps begin the count anew.
RETRY_AFTER_SECONDS = (5.0, 30.0, 300.0, 1800.0)
_STEP_WITHIN_SECONDS = 60.0
_log = get_logger(__name__)


class TaskContext:
    """What a task's function works with."""

    def __init__(self, begun: BegunTask, threads: DatabaseThreads, clock: Clock) -> None:
        self._begun = begun
        self._threads = threads
        self._clock = clock
        self.task_id = begun.id
        self.team_id = begun.team_id
        self.payload = begun.payload
        #: Where to go on: what the last step left, {} at the beginning.
        self.cursor: Mapping[str, Any] = begun.cursor

    async def step(self, work: Callable[[], Progress]) -> Progress:
        """Run `work` in a database thread, in one transaction with the progress that it returns.

        Raises `TaskCancelled` and `TaskTakenOver`, which the function lets through.
        """
        run = partial(services.step, self._begun, work, lambda: _now(self._clock))
        progress = await self._threads.run(run, within_seconds=_STEP_WITHIN_SECONDS)
        if progress.cursor is not None:
            self.cursor = progress.cursor
        return progress

    async def note(self, progress: Progress) -> None:
        """Keep how far the function came by work outside of the database; raises as `step` does."""
        await self.step(lambda: progress)


#: What does tasks of one kind: works in steps until there is no more, from `context.cursor` on.
TaskFunction = Callable[[TaskContext], Awaitable[None]]


class TaskRunner:
    """Does jobs of `services.RUN`: the function of the task's kind."""

    def __init__(
        self,
        threads: DatabaseThreads,
        functions: Mapping[str, TaskFunction],
        clock: Clock,
        on_end: Callable[[Task], None] | None = None,
    ) -> None:
        self._threads = threads
        self._functions = functions
        self._clock = clock
        self._on_end = on_end

    async def __call__(self, payload: dict[str, object]) -> None:
        """Do the task, or go on with it; raises `TryAgain` after a failure that may pass."""
        task_id = payload.get("task_id")
        if not isinstance(task_id, str):
            raise GiveUp("The job lacks members.")
        begun = await self._threads.run(partial(services.begin, task_id, _now(self._clock)))
        if begun is None:
            return
        context = TaskContext(begun, self._threads, self._clock)
        started = time.monotonic()
        try:
            # Noticed before anything is done, for a task that was cancelled while it waited.
            await context.note(Progress())
            await self._functions[begun.kind](context)
        except TaskTakenOver:
            _log.info("task_taken_over", task_id=begun.id, kind=begun.kind)
            return
        except TaskCancelled:
            await self._end(begun, TaskState.CANCELLED)
        except Unavailable:
            raise  # the database is away: nothing can be noted, and the job system tries again
        except Exception as error:  # noqa: BLE001 - whatever a function raises, the team sees that its job failed
            await self._failed(begun, error)
        else:
            await self._end(begun, TaskState.DONE)
            _log.info("task_done", kind=begun.kind, task_id=begun.id, seconds=round(time.monotonic() - started, 1))

    async def _failed(self, begun: BegunTask, error: Exception) -> None:
        # Errors of ours are written for callers; of any other only the kind is told, for its text may hold anything.
        is_ours = isinstance(error, AgentCacheError)
        said = error.message if isinstance(error, AgentCacheError) else f"{type(error).__name__}"
        if is_ours and getattr(error, "status", 500) < 500:
            await self._end(begun, TaskState.FAILED, said)
            return
        note = partial(services.note_failure, begun, said, _now(self._clock))
        failures = await self._threads.run(note)
        _log.warning("task_failed", kind=begun.kind, task_id=begun.id, reason=type(error).__name__, failures=failures)
        if failures > len(RETRY_AFTER_SECONDS):
            await self._end(begun, TaskState.FAILED, said)
        else:
            raise TryAgain(RETRY_AFTER_SECONDS[failures - 1]) from error

    async def _end(self, begun: BegunTask, state: TaskState, error: str = "") -> None:
        now = _now(self._clock)
        await self._threads.run(partial(services.end, begun, state, now, error=error, on_end=self._on_end))


def tidy(now: datetime, on_end: Callable[[Task], None] | None = None) -> None:
    """Forget what is old, and end what nobody works on any more."""
    services.end_lost(now, on_end)
    services.prune(now)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now(), UTC)
