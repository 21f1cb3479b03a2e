"""The pages of schedules: which there are with next and last runs, a new one, pause, run now, delete."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError, NotFound
from agentcache.prewarm import queries, services
from agentcache.prewarm.forms import ScheduleForm
from agentcache.prewarm.given import read_lines
from agentcache.prewarm.probing import dialects_of
from agentcache.prewarm.services import ScheduleEdits
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings
from agentcache.teams.views.forms import show_error

_form = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@team_page(Permission.PREWARM_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the team's schedules with their next and last runs."""
    context = request.team_context
    shown = {"rows": queries.schedules_of(context.team), "may_run": context.may(Permission.PREWARM_RUN)}
    return render(request, "prewarm/schedules.html", shown)


@_form
@team_page(Permission.PREWARM_RUN)
def new(request: TeamRequest) -> HttpResponse:
    """Take requests and when they are to be asked."""
    team = request.team_context.team
    form = ScheduleForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.create_schedule(
                current_secrets(),
                team,
                form.choice() or read_lines(form.raw(), dialects_of(current_settings())),
                form.options(is_dry_run=False),
                cron=form.cleaned_data["cron"],
                timezone=form.cleaned_data["timezone"],
                actor=Actor.of(request),
            )
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"{row.title} is scheduled.")
            return redirect("prewarm:schedules")
    shown = {"form": form, "credentials": queries.credentials_of(team)}
    return render(request, "prewarm/schedule_new.html", shown, status=422 if form.errors else 200)


@require_POST
@team_page(Permission.PREWARM_RUN)
def pause(request: TeamRequest, schedule_id: str) -> HttpResponse:
    """Pause or resume a schedule."""
    edits = ScheduleEdits(is_paused=request.POST.get("paused") == "1")
    row = services.change_schedule(request.team_context.team, schedule_id, edits, actor=Actor.of(request))
    messages.success(request, f"{row.title} {'is paused' if row.is_paused else 'goes on'}.")
    return redirect("prewarm:schedules")


@require_POST
@team_page(Permission.PREWARM_RUN)
def run(request: TeamRequest, schedule_id: str) -> HttpResponse:
    """Start its batch now, and lead to it."""
    team = request.team_context.team
    try:
        batch = services.run_schedule_now(current_secrets(), team, schedule_id, actor=Actor.of(request))
    except NotFound:
        raise
    except AgentCacheError as error:
        messages.error(request, error.message)
        return redirect("prewarm:schedules")
    return redirect("prewarm:batch", batch.pk)


@_form
@team_page(Permission.PREWARM_RUN)
def delete(request: TeamRequest, schedule_id: str) -> HttpResponse:
    """Say what ends with a schedule, and delete it."""
    team = request.team_context.team
    row = queries.get_schedule(team, schedule_id)
    if request.method == "POST":
        services.delete_schedule(team, schedule_id, actor=Actor.of(request))
        messages.success(request, f"{row.title} is deleted.")
        return redirect("prewarm:schedules")
    return render(request, "prewarm/schedule_delete.html", {"row": row})
