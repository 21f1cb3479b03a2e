"""Every write of tasks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.jobs import services as jobs
from agentcache.tasks.errors import TaskCancelled, TaskEnded, TaskNotFound, TaskTakenOver
from agentcache.tasks.models import ENDED, Task, TaskLine, TaskState
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: Job: do the task `payload["task_id"]`. Its lane is the team, so that none keeps the others waiting.
RUN = "tasks.run"
LINES_MAX = 500
_LINE_CHARS_MAX = 500
#: How long tasks are kept after their end.
KEPT = timedelta(days=30)
#: Share of the newest figure in the rate that is shown.
_SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step came to: how much was added, and where to go on."""

    done: int = 0
    #: Of those, how many failed.
    failed: int = 0
    #: None leaves it as it was.
    cursor: Mapping[str, Any] | None = None
    #: None leaves it as it was.
    total: int | None = None
    lines: Sequence[str] = ()
    #: Members to put into the result.
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BegunTask:
    """A task as a worker takes it up."""

    id: str
    team_id: str
    kind: str
    payload: Mapping[str, Any]
    cursor: Mapping[str, Any]
    run: str


def start(
    team: Team, kind: str, title: str, payload: Mapping[str, Any], *, total: int | None = None, actor: Actor
) -> Task:
    """Keep a task and its job, in the caller's transaction if there is one; `payload` is a JSON object."""
    with transaction.atomic():
        task = Task(team_id=team.pk, kind=kind, title=title[:200], payload=dict(payload), total=total)
        task.started_by = actor.shown
        task.created_at = timezone.now()
        task.save(force_insert=True)
        jobs.enqueue(task.pk, RUN, {"task_id": task.pk}, task.created_at, lane=f"tasks:{team.pk}")
        _note("job.started", task, actor, {"kind": kind, "title": task.title})
    return task


def cancel(team: Team, task_id: str, *, actor: Actor) -> Task:
    """Ask a task to end; it does so before its next step. What is done stays done. Raises `TaskNotFound`, `TaskEnded`."""
    with transaction.atomic():
        task = rows_of(team, Task).select_for_update().filter(pk=task_id).first()
        if task is None:
            raise TaskNotFound(param="job_id")
        if task.is_ended:
            raise TaskEnded(f"This job is {task.get_state_display().lower()} already.")
        if task.cancel_requested_at is None:
            task.cancel_requested_at = timezone.now()
            task.save(update_fields=["cancel_requested_at"])
            # One that waits for its next try need not wait to be cancelled.
            jobs.retry(task.pk)
            _note("job.cancelled", task, actor, {"done": task.done, "total": task.total})
    return task


def begin(task_id: str, now: datetime) -> BegunTask | None:
    """Take a task up, from whoever had it before; None when it has ended or is gone."""
    with transaction.atomic():
        # Of whichever team: the worker serves them all.
        task = Task.objects.select_for_update().filter(pk=task_id).exclude(state__in=ENDED).first()
        if task is None:
            return None
        if task.run and not task.failures:
            _say(task, ["Went on after an interruption."], now)
        task.run = secrets.token_hex(16)
        task.state = TaskState.RUNNING
        task.began_at = task.began_at or now
        # The time in between says nothing of how fast it is.
        task.progress_at = now
        task.save()
    return BegunTask(task.pk, task.team_id, task.kind, task.payload, task.cursor, task.run)


def step(begun: BegunTask, work: Callable[[], Progress], now: Callable[[], datetime]) -> Progress:
    """Do one step: what `work` changes in the database and the note of how far it came are one transaction.

    Raises `TaskCancelled` when somebody cancelled it and `TaskTakenOver` when another worker has it; then `work` is not
    called.
    """
    with transaction.atomic():
        task = _held(begun)
        if task.cancel_requested_at is not None:
            raise TaskCancelled
        progress = work()
        task.done += progress.done
        task.failed += progress.failed
        task.total = task.total if progress.total is None else progress.total
        task.cursor = task.cursor if progress.cursor is None else dict(progress.cursor)
        task.result = {**task.result, **progress.result}
        # What was done shows that the cause of former failures is gone.
        if progress.done:
            task.failures = 0
            jobs.forget_tries(task.pk)
        at = now()
        _keep_rate(task, progress.done, at)
        _say(task, progress.lines, at)
        task.save()
    return progress


def end(
    begun: BegunTask, state: TaskState, now: datetime, *, error: str = "", on_end: Callable[[Task], None] | None = None
) -> None:
    """Note how a task ended, with what `on_end` writes in the same transaction. Raises `TaskTakenOver`."""
    with transaction.atomic():
        task = _held(begun)
        _end(task, state, now, error)
        if on_end is not None:
            on_end(task)


def note_failure(begun: BegunTask, error: str, now: datetime) -> int:
    """Note that a task's function failed; return how many times in a row that is. Raises `TaskTakenOver`."""
    with transaction.atomic():
        task = _held(begun)
        task.failures += 1
        _say(task, [f"Failed ({error}); it is tried again."], now)
        task.save()
    return task.failures


def end_lost(now: datetime, on_end: Callable[[Task], None] | None = None) -> int:
    """End tasks whose job was given up because the worker died at every try; return how many."""
    rows = list(Task.objects.exclude(state__in=ENDED)[:1_000])
    alive = jobs.alive([row.pk for row in rows])
    lost = [row for row in rows if row.pk not in alive]
    for task in lost:
        with transaction.atomic():
            _end(task, TaskState.FAILED, now, "The job worker died at every try.")
            if on_end is not None:
                on_end(task)
    return len(lost)


def prune(now: datetime) -> int:
    """Delete tasks that ended more than 30 days ago; return how many."""
    return Task.objects.filter(ended_at__lt=now - KEPT).delete()[0]


def _held(begun: BegunTask) -> Task:
    task = Task.objects.select_for_update().filter(pk=begun.id, run=begun.run).exclude(state__in=ENDED).first()
    if task is None:
        raise TaskTakenOver
    return task


def _end(task: Task, state: TaskState, now: datetime, error: str) -> None:
    task.state, task.ended_at, task.error = state, now, error[:300]
    said = {TaskState.DONE: "Done.", TaskState.CANCELLED: "Cancelled."}.get(state, f"Failed: {error}")
    _say(task, [said], now)
    task.save()


def _keep_rate(task: Task, done: int, now: datetime) -> None:
    seconds = (now - (task.progress_at or now)).total_seconds()
    if done and seconds > 0:
        rate = done / seconds
        former = task.rate_per_second
        task.rate_per_second = rate if former is None else (1 - _SMOOTHING) * former + _SMOOTHING * rate
    if done:
        task.progress_at = now


def _say(task: Task, lines: Sequence[str], now: datetime) -> None:
    if not lines:
        return
    TaskLine.objects.bulk_create([TaskLine(task=task, at=now, text=line[:_LINE_CHARS_MAX]) for line in lines])
    said = TaskLine.objects.filter(task=task).order_by("-id")
    # The first lines tell least of what is going on now.
    oldest = said.values_list("id", flat=True)[LINES_MAX : LINES_MAX + 1].first()
    if oldest is not None:
        TaskLine.objects.filter(task=task, id__lte=oldest).delete()


def _note(action: str, task: Task, actor: Actor, after: dict[str, object]) -> None:
    audit.record(
        action=action,
        actor=actor,
        team_id=task.team_id,
        target_kind="job",
        target_id=task.pk,
        target_name=task.title,
        after=after,
    )
