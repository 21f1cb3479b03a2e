"""The pages of policies: their order, one policy, what they would have done, and their versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.design import formats
from agentcache.kit.errors import AgentCacheError, BadRequest
from agentcache.kit.money import NANOS_PER_USD
from agentcache.policies import queries, services
from agentcache.policies.drafts import PolicyDraft
from agentcache.policies.dry_run import PolicyResult
from agentcache.policies.errors import PoliciesChanged
from agentcache.policies.forms import DaysForm, PolicyForm
from agentcache.policies.past import REQUESTS_MAX, Played, play
from agentcache.policies.presets import PRESETS
from agentcache.quotas.queries import plan_of
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.models import Team
from agentcache.teams.permissions import Permission

_IN_FORCE = "In force for every worker within 5 seconds."
_DAYS = 7


@require_safe
@team_page(Permission.POLICIES_READ)
def index(request: TeamRequest) -> HttpResponse:
    """List the policies in force, and offer presets."""
    team = request.team_context.team
    current = queries.current_policies(team)
    context = {
        "rows": current.drafts,
        "version": current.version,
        "presets": PRESETS.values(),
        "may_change": request.team_context.may(Permission.POLICIES_MANAGE),
        "team_lifetime": team.default_lifetime_seconds,
    }
    return render(request, "policies/index.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.POLICIES_MANAGE)
def new(request: TeamRequest) -> HttpResponse:
    """Add a policy, perhaps from a preset."""
    preset = PRESETS.get(request.GET.get("preset", ""))
    return _edit(request, preset.draft if preset is not None else None, policy_id="")


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.POLICIES_MANAGE)
def change(request: TeamRequest, policy_id: str) -> HttpResponse:
    """Change a policy."""
    return _edit(request, queries.get_policy(request.team_context.team, policy_id), policy_id)


def _edit(request: TeamRequest, former: PolicyDraft | None, policy_id: str) -> HttpResponse:
    team = request.team_context.team
    dialects = queries.known_dialects()
    context: dict[str, Any] = {"policy_id": policy_id, "name": former.name if former is not None else ""}
    if request.method == "POST":
        form = PolicyForm(request.POST, dialects=dialects, former=former)
        if form.is_valid():
            try:
                if "dry_run" in request.POST:
                    drafts = _with(queries.current_policies(team).drafts, form.draft, policy_id)
                    context |= _played(play(team, drafts, _days(team), datetime.now(UTC)), form.draft.name)
                else:
                    _keep(team, form, policy_id, Actor.of(request))
                    messages.success(request, f"The policy is kept. {_IN_FORCE}")
                    return redirect("policies:index")
            except AgentCacheError as error:
                form.add_error(error.param if error.param in form.fields else None, error.message)
    else:
        version = queries.current_policies(team).version
        initial = PolicyForm.filled_in(former or PolicyDraft(name=""), version)
        form = PolicyForm(initial=initial, dialects=dialects, former=former)
    return render(request, "policies/policy.html", {"form": form, **context}, status=422 if form.errors else 200)


def _keep(team: Team, form: PolicyForm, policy_id: str, actor: Actor) -> None:
    if policy_id:
        based_on = form.cleaned_data["based_on"]
        services.change_policy(team, policy_id, form.draft, actor=actor, based_on=based_on)
    else:
        services.add_policy(team, form.draft, actor=actor)


def _with(drafts: list[PolicyDraft], draft: PolicyDraft, policy_id: str) -> list[PolicyDraft]:
    """Return the policies as they would be with this one saved."""
    if not policy_id:
        return [*drafts, draft]
    return [draft if one.id == policy_id else one for one in drafts]


@require_POST
@team_page(Permission.POLICIES_MANAGE, back="policies:index")
def move(request: TeamRequest, policy_id: str) -> HttpResponse:
    """Put a policy one place up or down."""
    team = request.team_context.team
    places = [draft.id for draft in queries.current_policies(team).drafts]
    queries.get_policy(team, policy_id)
    step = -1 if request.POST.get("to") == "up" else 1
    services.move_policy(team, policy_id, max(0, places.index(policy_id) + step), actor=Actor.of(request))
    return redirect("policies:index")


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.POLICIES_MANAGE)
def remove(request: TeamRequest, policy_id: str) -> HttpResponse:
    """Ask before a policy is taken away."""
    team = request.team_context.team
    draft = queries.get_policy(team, policy_id)
    if request.method == "POST":
        services.remove_policy(team, policy_id, actor=Actor.of(request))
        messages.success(request, f"{draft.name} is removed. {_IN_FORCE} An earlier version brings it back.")
        return redirect("policies:index")
    return render(request, "policies/remove.html", {"policy": draft})


@require_safe
@team_page(Permission.POLICIES_READ)
def dry_run(request: TeamRequest) -> HttpResponse:
    """Show what the policies in force would have done to the last days' requests."""
    team = request.team_context.team
    current = queries.current_policies(team)
    form = DaysForm(request.GET if "days" in request.GET else {"days": _days(team)})
    context: dict[str, Any] = {"form": form, "version": current.version, "has_policies": bool(current.drafts)}
    if form.is_valid():
        try:
            context |= _played(play(team, current.drafts, form.cleaned_data["days"], datetime.now(UTC)))
        except BadRequest as error:
            form.add_error("days", error.message)
    return render(request, "policies/dry_run.html", context, status=422 if form.errors else 200)


@require_safe
@team_page(Permission.POLICIES_READ)
def versions(request: TeamRequest) -> HttpResponse:
    """List the saves, newest first."""
    team = request.team_context.team
    before = request.GET.get("before", "")
    given = int(before) if before.isascii() and before.isdigit() and len(before) < 10 else None
    rows = queries.list_versions(team, before=given)
    context = {
        "rows": rows,
        "current": queries.current_policies(team).version,
        "older": f"?before={rows[-1].number}" if len(rows) == queries.PAGE_ROWS else "",
        "is_first": given is None,
    }
    return render(request, "policies/versions.html", context)


@require_safe
@team_page(Permission.POLICIES_READ)
def version(request: TeamRequest, number: int) -> HttpResponse:
    """Show one save."""
    team = request.team_context.team
    row = queries.get_version(team, number)
    context = {
        "row": row,
        "rows": queries.drafts_of(row),
        "is_current": queries.current_policies(team).version == number,
        "may_change": request.team_context.may(Permission.POLICIES_MANAGE),
    }
    return render(request, "policies/version.html", context)


@require_POST
@team_page(Permission.POLICIES_MANAGE, back="policies:versions")
def restore(request: TeamRequest, number: int) -> HttpResponse:
    """Put an earlier save in force again, as a new version."""
    try:
        kept = services.restore_version(request.team_context.team, number, actor=Actor.of(request))
    except (BadRequest, PoliciesChanged) as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Version {number} is in force again, as version {kept.number}. {_IN_FORCE}")
    return redirect("policies:index")


def _days(team: Team) -> int:
    """Return how far back a dry run goes unless somebody says."""
    return min(_DAYS, plan_of(team).retention_days)


def _played(played: Played, own: str = "") -> dict[str, Any]:
    """Return what a page shows of a dry run; `own` is the policy that it is about."""
    run = played.run
    return {
        "played": played,
        "total": _figures(run.total),
        "was": _figures(run.was),
        "results": [_figures(one) | {"is_own": one.name == own} for one in run.by_policy if one.requests],
        "was_share": formats.number(run.was.hit_ratio, "percent"),
        "requests_max": REQUESTS_MAX,
    }


def _figures(result: PolicyResult) -> dict[str, Any]:
    return {
        "of": result,
        "hit_ratio": result.hit_ratio,
        "saved": result.saved_usd_nanos / NANOS_PER_USD,
        "spent": result.spent_usd_nanos / NANOS_PER_USD,
    }
