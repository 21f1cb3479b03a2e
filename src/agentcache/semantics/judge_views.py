"""The pages of judges: which there are and what they did, set one, take it away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.money import NANOS_PER_USD
from agentcache.prewarm.queries import credentials_of
from agentcache.semantics import queries, services, words
from agentcache.semantics.drafts import JudgeDraft
from agentcache.semantics.forms import JudgeForm
from agentcache.semantics.measuring import missing
from agentcache.semantics.models import EVERY_NAMESPACE
from agentcache.semantics.queries import JudgeView
from agentcache.semantics.views import tabs
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.models import Team
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_settings
from agentcache.teams.views.forms import show_error

_DAYS: Final = 30
_form = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """A judge as it is listed."""

    view: JudgeView
    now: datetime

    @property
    def spent_today(self) -> float:
        """What counts against the budget of today, in dollars."""
        return self.view.today.used_usd_nanos / NANOS_PER_USD

    @property
    def budget(self) -> float:
        """What it may cost on a day, in dollars."""
        return self.view.judge.daily_budget_usd_nanos / NANOS_PER_USD

    @property
    def set_aside(self) -> float:
        """The part of today's that is not known to be paid, in dollars."""
        return self.view.today.held_usd_nanos / NANOS_PER_USD

    @property
    def is_resting(self) -> bool:
        """Whether it is not asked for now, after a failure or for want of money."""
        judge = self.view.judge
        return judge.is_on and judge.held_until is not None and judge.held_until > self.now

    @property
    def trouble(self) -> str:
        """What went wrong last, in words; "" where nothing did."""
        judge = self.view.judge
        return words.judge_trouble(judge.last_error, judge.last_status) if judge.last_error else ""


@require_safe
@team_page(Permission.SEMANTICS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the judges of the team, what they said, and what they cost."""
    team, now = request.team_context.team, datetime.now(UTC)
    views = queries.judges_of(team, now.date() - timedelta(days=_DAYS - 1), now)
    context = {
        "tabs": tabs(),
        "rows": [JudgeRow(view, now) for view in views],
        "days": _DAYS,
        "waits_hours": queries.JUDGED_WITHIN // timedelta(hours=1),
        "problem": missing(),
        "has_credential": bool(_providers(team)),
        "may_change": request.team_context.may(Permission.SEMANTICS_MANAGE),
    }
    return render(request, "semantics/judges.html", context)


@_form
@team_page(Permission.SEMANTICS_MANAGE)
def new(request: TeamRequest) -> HttpResponse:
    """Give a namespace a judge."""
    providers = _providers(request.team_context.team)
    initial = {"namespace": EVERY_NAMESPACE}
    return _edit(request, JudgeForm(request.POST or None, providers=providers, is_new=True, initial=initial), "")


@_form
@team_page(Permission.SEMANTICS_MANAGE)
def change(request: TeamRequest, namespace: str) -> HttpResponse:
    """Change a namespace's judge."""
    team = request.team_context.team
    row = queries.get_judge(team, namespace)
    providers = sorted({*_providers(team), row.provider})
    initial = {**JudgeDraft.of(row).as_document(), "based_on": row.revision}
    return _edit(
        request, JudgeForm(request.POST or None, providers=providers, is_new=False, initial=initial), namespace
    )


def _edit(request: TeamRequest, form: JudgeForm, namespace: str) -> HttpResponse:
    if form.is_bound and form.is_valid():
        based_on = form.cleaned_data["based_on"] if namespace else 0
        name = namespace or form.cleaned_data["namespace"]
        try:
            row = services.save_judge(
                request.team_context.team, name, form.draft, actor=Actor.of(request), based_on=based_on
            )
        except AgentCacheError as error:
            show_error(form, error)
        else:
            whose = "every other namespace" if row.namespace == EVERY_NAMESPACE else row.namespace
            messages.success(request, f"The judge of {whose}: kept.")
            return redirect("semantics:judges")
    context = {
        "form": form,
        "namespace": namespace,
        "problem": missing(),
        "has_credential": bool(_providers(request.team_context.team)),
    }
    return render(request, "semantics/judge.html", context, status=422 if form.errors else 200)


@_form
@team_page(Permission.SEMANTICS_MANAGE)
def remove(request: TeamRequest, namespace: str) -> HttpResponse:
    """Ask before a judge is taken away."""
    team = request.team_context.team
    row = queries.get_judge(team, namespace)
    if request.method == "POST":
        services.remove_judge(team, namespace, actor=Actor.of(request))
        whose = "every other namespace" if namespace == EVERY_NAMESPACE else namespace
        messages.success(request, f"The judge of {whose} is removed.")
        return redirect("semantics:judges")
    return render(request, "semantics/judge_remove.html", {"row": row})


def _providers(team: Team) -> list[str]:
    """Return the providers that the team keeps a credential for and that can be asked for a verdict."""
    kept = {row.provider for row in credentials_of(team)}
    return [name for name in services.judge_providers(current_settings()) if name in kept]
