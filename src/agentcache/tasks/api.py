"""The JSON API of tasks, which it calls jobs: list, look at, cancel; under /api/jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Query, Router, Schema, Status

from agentcache.audit.services import Actor
from agentcache.tasks import queries, services
from agentcache.tasks.models import Task, TaskState
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission

router = Router(tags=["Jobs"])


class TaskQuery(PageAsked):
    """Which jobs, and which page of them; what is left out does not narrow."""

    state: TaskState | None = None
    kind: str = ""


class LineShown(Schema):
    """One line of what a job said."""

    at: datetime
    text: str


class TaskShown(Schema):
    """A job and how far it is."""

    id: str
    kind: str
    title: str
    #: `queued`, `running`, `done`, `failed` or `cancelled`.
    state: str
    #: Units of work; null while nobody knows how many there are.
    total: int | None
    done: int
    #: Of those that are done, how many failed.
    failed: int
    rate_per_second: float | None
    #: About how long it goes on; null when that cannot be told.
    eta_seconds: float | None
    is_cancel_requested: bool
    result: dict[str, Any]
    error: str
    started_by: str
    created_at: datetime
    began_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> TaskShown:
        """Show one."""
        plain = (
            "kind title state total done failed rate_per_second eta_seconds result error started_by created_at began_at "
            "ended_at"
        ).split()
        return cls(
            id=task.pk,
            is_cancel_requested=task.cancel_requested_at is not None,
            **{name: getattr(task, name) for name in plain},
        )


class TaskWithLines(TaskShown):
    """A job, how far it is, and what it said last, newest first."""

    lines: list[LineShown]


class TasksShown(Schema):
    """A page of jobs, newest first; `cursor` continues it and is empty at the end."""

    jobs: list[TaskShown]
    cursor: str


@router.get("", auth=TeamAuth(Permission.JOBS_READ), response=TasksShown, operation_id="jobs.list")
def list_jobs(request: TeamRequest, query: Query[TaskQuery]) -> TasksShown:
    """Return the team's jobs, newest first."""
    state = "" if query.state is None else query.state.value
    page = queries.page_of(
        request.team_context.team, state=state, kind=query.kind, cursor=query.cursor, rows=query.limit
    )
    return TasksShown(jobs=[TaskShown.of(task) for task in page.tasks], cursor=page.next_cursor)


@router.get("/{job_id}", auth=TeamAuth(Permission.JOBS_READ), response=TaskWithLines, operation_id="jobs.show")
def show_job(request: TeamRequest, job_id: str) -> TaskWithLines:
    """Return one job with its progress and its last 100 lines."""
    task = queries.get_task(request.team_context.team, job_id)
    lines = [LineShown(at=line.at, text=line.text) for line in queries.lines_of(task)]
    return TaskWithLines(**TaskShown.of(task).model_dump(), lines=lines)


@router.post(
    "/{job_id}/cancel", auth=TeamAuth(Permission.JOBS_CANCEL), response={202: TaskShown}, operation_id="jobs.cancel"
)
def cancel_job(request: TeamRequest, job_id: str) -> Status[TaskShown]:
    """Ask a job to end; it does so before its next step, and what is done stays done."""
    task = services.cancel(request.team_context.team, job_id, actor=Actor.of(request))
    return Status(202, TaskShown.of(task))
