"""The pages of prewarming: what was done, a new batch, one batch with its results."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.design import formats
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.money import NANOS_PER_USD
from agentcache.prewarm import queries, services
from agentcache.prewarm.errors import BatchNotFound, CredentialMissing
from agentcache.prewarm.forms import BatchForm
from agentcache.prewarm.given import read_lines
from agentcache.prewarm.models import Batch, BatchState, RequestState
from agentcache.prewarm.probing import dialects_of
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings
from agentcache.teams.views.forms import show_error

#: State -> tone of its badge.
TONES = {
    BatchState.WAITING.value: "quiet",
    BatchState.RUNNING.value: "info",
    BatchState.DONE.value: "good",
    BatchState.FAILED.value: "bad",
    BatchState.CANCELLED.value: "warn",
}
RESULT_TONES = {
    RequestState.WAITING.value: "quiet",
    RequestState.SENDING.value: "info",
    RequestState.WARMED.value: "good",
    RequestState.SKIPPED.value: "good",
    RequestState.FAILED.value: "bad",
    RequestState.LEFT.value: "warn",
}
#: Why a request failed, was left out, or its answer was not stored -> in words.
REASONS = {
    "cost_cap": "might cost more than is left of the cap",
    "price_unknown": "its price is not known, and a cap or a hard budget is set",
    "output_unbounded": "nothing bounds its answer, and there is a cap",
    "dry_run": "",
    "credential_missing": "no credential is kept for this provider",
    "provider_refused": "the provider refused it",
    "answer_cut": "the answer did not come to its end",
}
_form = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@team_page(Permission.PREWARM_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the team's batches, newest first; asked for again while one goes on."""
    context = request.team_context
    page = queries.batches_of(context.team, cursor=request.GET.get("cursor", ""))
    shown = {
        "rows": [(batch, TONES[batch.state], _usd(batch.cost_usd_nanos)) for batch in page.batches],
        "next_cursor": page.next_cursor,
        "is_live": queries.is_any_active(context.team) and "cursor" not in request.GET,
        "may_run": context.may(Permission.PREWARM_RUN),
        "keeps_requests": queries.keeps_requests(context.team.pk),
        "kept": queries.count_kept(context.team),
        "has_credentials": bool(queries.credentials_of(context.team)),
    }
    template = "prewarm/list.html" if request.headers.get("HX-Request") == "true" else "prewarm/index.html"
    return render(request, template, shown)


@require_POST
@team_page(Permission.PREWARM_RUN)
def keeping(request: TeamRequest) -> HttpResponse:
    """Keep requests from now on, or delete those that are kept."""
    is_on = request.POST.get("on") == "1"
    services.set_keeping(request.team_context.team, is_on=is_on, actor=Actor.of(request))
    messages.success(request, "Requests are kept from now on." if is_on else "No requests are kept any more.")
    return redirect("prewarm:batches")


@_form
@team_page(Permission.PREWARM_RUN)
def new(request: TeamRequest) -> HttpResponse:
    """Take requests, find out what they would cost, or ask at once."""
    team = request.team_context.team
    form = BatchForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            choice = form.choice()
            if choice is None:
                requests = read_lines(form.raw(), dialects_of(current_settings()))
            else:
                requests = services.choose(current_secrets(), team, choice)
            options = form.options(is_dry_run="dry_run" in request.POST)
            batch = services.start_batch(current_secrets(), team, requests, options, actor=Actor.of(request))
        except AgentCacheError as error:
            show_error(form, error)
        else:
            return redirect("prewarm:batch", batch.pk)
    shown = {"form": form, "credentials": queries.credentials_of(team)}
    return render(request, "prewarm/new.html", shown, status=422 if form.errors else 200)


@require_safe
@team_page(Permission.PREWARM_READ)
def detail(request: TeamRequest, batch_id: str) -> HttpResponse:
    """Show how far a batch is and what became of each request; asked for again while it goes on."""
    context = request.team_context
    batch = queries.get_batch(context.team, batch_id)
    state = request.GET.get("state", "")
    state = state if state in RequestState.values else ""
    start = request.GET.get("from", "")
    first = int(start) if start.isascii() and start.isdecimal() and len(start) < 7 else 0
    rows, following = queries.results_of(context.team, batch, state=state, start=first)
    shown = {
        **_figures(batch),
        "batch": batch,
        "tone": TONES[batch.state],
        "rows": [(row, RESULT_TONES[row.state], _said(row.reason), _usd(row.cost_usd_nanos)) for row in rows],
        "following": following,
        "state": state,
        "states": RequestState.choices,
        "is_live": not batch.is_ended,
        "can_run": context.may(Permission.PREWARM_RUN) and queries.can_run(context.team, batch),
        "may_cancel": context.may(Permission.JOBS_CANCEL) and not batch.is_ended,
    }
    template = "prewarm/progress.html" if request.headers.get("HX-Request") == "true" else "prewarm/batch.html"
    return render(request, template, shown)


@require_POST
@team_page(Permission.PREWARM_RUN)
def run(request: TeamRequest, batch_id: str) -> HttpResponse:
    """Do for real what a dry run found out."""
    try:
        services.run_again(request.team_context.team, batch_id, actor=Actor.of(request))
    except BatchNotFound:
        raise
    except (AgentCacheError, CredentialMissing) as error:
        messages.error(request, error.message)
    return redirect("prewarm:batch", batch_id)


def _figures(batch: Batch) -> dict[str, object]:
    cap = batch.cost_cap_usd_nanos
    ended = batch.warmed + batch.skipped + batch.failed
    return {
        "cost": _usd(batch.cost_usd_nanos),
        "cap": "" if cap is None else _usd(cap),
        "likely": _usd(batch.likely_usd_nanos),
        "most": _usd(batch.most_usd_nanos),
        "rest": batch.total - ended,
        # Of a dry run: then some may be left out when it is done for real.
        "may_exceed_cap": batch.is_dry_run and cap is not None and batch.most_usd_nanos > cap,
    }


def _usd(nanos: int) -> str:
    return formats.usd(nanos / NANOS_PER_USD)


def _said(reason: str) -> str:
    return REASONS.get(reason, reason.replace("_", " "))
