"""Every read of tasks."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.tasks.errors import TaskNotFound
from agentcache.tasks.models import ENDED, Task, TaskLine
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks, newest first, and where the next page begins (empty at the end)."""

    tasks: list[Task]
    next_cursor: str


def page_of(team: Team, *, state: str = "", kind: str = "", cursor: str = "", rows: int = PAGE_ROWS) -> TaskPage:
    """Return one page of a team's tasks; empty members do not narrow."""
    found = rows_of(team, Task).order_by("-id")
    if state:
        found = found.filter(state=state)
    if kind:
        found = found.filter(kind=kind)
    if cursor:
        found = found.filter(pk__lt=cursor)
    tasks = list(found[: rows + 1])
    return TaskPage(tasks[:rows], tasks[rows - 1].pk if len(tasks) > rows else "")


def get_task(team: Team, task_id: str) -> Task:
    """Return one task of the team. Raises `TaskNotFound`."""
    task = rows_of(team, Task).filter(pk=task_id).first()
    if task is None:
        raise TaskNotFound(param="job_id")
    return task


def lines_of(task: Task, lines: int = 100) -> list[TaskLine]:
    """Return what a task said last, newest first."""
    return list(TaskLine.objects.filter(task=task).order_by("-id")[:lines])


def are_any_active(team: Team) -> bool:
    """Say whether a task of the team waits or runs."""
    return rows_of(team, Task).exclude(state__in=ENDED).exists()
