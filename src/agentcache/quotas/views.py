"""The pages of quotas: how full they are, setting them, and who used what."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.design import formats
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.money import NANOS_PER_USD
from agentcache.quotas import queries, services
from agentcache.quotas.forms import BehaviourForm, LimitForm
from agentcache.quotas.jobs import THRESHOLDS
from agentcache.quotas.models import Limit, SubjectKind
from agentcache.quotas.plans import PLANS
from agentcache.quotas.queries import BUDGET, Bar
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission

_WHO = {"members": SubjectKind.MEMBER, "keys": SubjectKind.KEY, "agents": SubjectKind.AGENT}


@require_safe
@team_page(Permission.STATS_READ)
def usage(request: TeamRequest) -> HttpResponse:
    """Show plan, limits and how full they are."""
    context = request.team_context
    found = queries.usage_of(context.team, timezone.now())
    limits = queries.limits_of_team(context.team)
    names = queries.names_of(context.team, {(row.kind, row.subject) for row in limits})
    return render(
        request,
        "quotas/usage.html",
        {
            "usage": found,
            "requests": f"{found.requests:,}",
            "cost": formats.usd(found.cost_usd_nanos / NANOS_PER_USD),
            "bars": [_bar(bar) for bar in found.bars],
            "limits": [_row(row, names.get((row.kind, row.subject), row.subject)) for row in limits],
            "plans": PLANS.values(),
            "thresholds": THRESHOLDS,
            "behaviour_form": BehaviourForm(
                initial={"is_hard": found.is_hard, "serves_hits_over_quota": found.serves_hits_over_quota}
            ),
            "may_change": context.may(Permission.TEAM_MANAGE),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.TEAM_MANAGE, fresh=True)
def limit(request: TeamRequest) -> HttpResponse:
    """Set, change or take away one limit."""
    team = request.team_context.team
    if request.method == "POST":
        form = LimitForm(request.POST, team=team)
        if form.is_valid():
            try:
                kept = services.set_limit(team, *form.subject, form.new_limit, actor=Actor.of(request))
            except AgentCacheError as error:
                form.add_error(error.param if error.param in form.fields else None, error.message)
            else:
                said = "The limit is kept; it is in force within 5 seconds." if kept else "There is no such limit now."
                messages.success(request, said)
                return redirect("quotas:usage")
    else:
        kind, subject = request.GET.get("kind", ""), request.GET.get("subject", "")
        known = next((row for row in queries.limits_of_team(team) if (row.kind, row.subject) == (kind, subject)), None)
        initial = LimitForm.filled_in(known) if known else {"whom": f"{kind}:{subject}", "is_hard": True}
        form = LimitForm(initial=initial, team=team)
    return render(request, "quotas/limit.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@team_page(Permission.TEAM_MANAGE, fresh=True)
def behaviour(request: TeamRequest) -> HttpResponse:
    """Choose what happens when the month's requests are used up."""
    form = BehaviourForm(request.POST)
    if form.is_valid():
        services.set_quota_behaviour(request.team_context.team, actor=Actor.of(request), **form.cleaned_data)
        messages.success(request, "That is kept; it is in force within 5 seconds.")
    return redirect("quotas:usage")


@require_safe
@team_page(Permission.STATS_READ)
def attribution(request: TeamRequest) -> HttpResponse:
    """Show what each member, key or agent used this month, and how much can be told of nobody."""
    team = request.team_context.team
    who = request.GET.get("by", "members")
    kind = _WHO.get(who, SubjectKind.MEMBER)
    month = services.month_at(timezone.now().timestamp())
    uses = queries.use_by(team, kind, month)
    begins, resets = queries.month_bounds(month)
    coverage = queries.coverage(team, month)
    review = {use.subject for use in queries.to_review(uses)}
    attributed = sum(use.requests for use in uses)
    share = coverage.percent(kind)
    context = {
        "kind": kind,
        "rows": [
            {
                "use": use,
                "share": use.requests / coverage.requests if coverage.requests else None,
                "cost": formats.usd(use.cost_usd_nanos / NANOS_PER_USD),
                "is_to_review": use.subject in review,
            }
            for use in uses
        ],
        "to_review": len(review),
        "requests": f"{coverage.requests:,}",
        "share": "" if share is None or kind is SubjectKind.KEY else f"{share:.1f} %",
        "unattributed": max(0, coverage.requests - attributed),
        "begins": begins,
        "resets": resets,
        "tabs": [(label.capitalize(), f"{request.path}?by={label}") for label in _WHO],
        "current": f"{request.path}?by={who if who in _WHO else 'members'}",
        "may_change": request.team_context.may(Permission.TEAM_MANAGE),
    }
    return render(request, "quotas/attribution.html", context)


def _bar(bar: Bar) -> dict[str, object]:
    is_money = bar.measure == BUDGET
    scale = NANOS_PER_USD if is_money else 1
    what = "budget, USD" if is_money else "requests"
    return {
        "used": bar.used / scale,
        "limit": bar.limit / scale,
        "unit": "usd" if is_money else "count",
        "label": f"{bar.name}: {what}" if not bar.is_plan else f"Plan {bar.name}: {what}",
        "note": "stops at 100 %" if bar.is_hard else "only tells",
    }


def _row(row: Limit, name: str) -> dict[str, object]:
    budget = row.budget_usd_nanos_per_month
    return {"limit": row, "name": name, "budget": None if budget is None else formats.usd(budget / NANOS_PER_USD)}
