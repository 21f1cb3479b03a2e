"""The pages of tasks, which they call jobs: list, one, cancel."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.tasks import queries, services
from agentcache.tasks.errors import TaskEnded
from agentcache.tasks.models import TaskState
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission

#: State -> tone of its badge.
TONES = {
    TaskState.QUEUED: "quiet",
    TaskState.RUNNING: "info",
    TaskState.DONE: "good",
    TaskState.FAILED: "bad",
    TaskState.CANCELLED: "warn",
}


@require_safe
@team_page(Permission.JOBS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the team's jobs, newest first; asked for again while one goes on."""
    context = request.team_context
    state = request.GET.get("state", "")
    state = state if state in TaskState.values else ""
    page = queries.page_of(context.team, state=state, cursor=request.GET.get("cursor", ""))
    shown = {
        "rows": [(task, TONES[TaskState(task.state)]) for task in page.tasks],
        "next_cursor": page.next_cursor,
        "states": TaskState.choices,
        "state": state,
        "is_live": queries.are_any_active(context.team) and "cursor" not in request.GET,
    }
    template = "tasks/list.html" if request.headers.get("HX-Request") == "true" else "tasks/index.html"
    return render(request, template, shown)


@require_safe
@team_page(Permission.JOBS_READ)
def detail(request: TeamRequest, task_id: str) -> HttpResponse:
    """Show how far one job is and what it said."""
    context = request.team_context
    task = queries.get_task(context.team, task_id)
    shown = {
        "task": task,
        "tone": TONES[TaskState(task.state)],
        "lines": queries.lines_of(task),
        "may_cancel": context.may(Permission.JOBS_CANCEL),
        "result": [(name, value) for name, value in task.result.items() if not isinstance(value, list | dict)],
    }
    template = "tasks/progress.html" if request.headers.get("HX-Request") == "true" else "tasks/task.html"
    return render(request, template, shown)


@require_POST
@team_page(Permission.JOBS_CANCEL)
def cancel(request: TeamRequest, task_id: str) -> HttpResponse:
    """Ask a job to end."""
    try:
        services.cancel(request.team_context.team, task_id, actor=Actor.of(request))
        messages.success(request, "The job ends before its next step. What is done stays done.")
    except TaskEnded as error:
        messages.info(request, error.message)
    return redirect("tasks:task", task_id)
