"""Invalidating on a page: say what, see what it would meet, confirm, see what it met."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from agentcache.analytics import queries
from agentcache.analytics.labels import labels_of
from agentcache.audit.services import Actor
from agentcache.dashboard.entry_access import entry_access, tenant_of
from agentcache.dashboard.invalidate_form import SELECTING, InvalidateForm
from agentcache.engine.entries import Selector
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.invalidating import WEEK_MS, Preview, criteria_of, preview, selector_of
from agentcache.gateway.native.schemas import InvalidateRequest
from agentcache.gateway.ports import InvalidationRecord
from agentcache.invalidations.queries import find_invalidation, list_invalidations
from agentcache.invalidations.services import record_invalidation
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.ids import new_id
from agentcache.prewarm import services as prewarm
from agentcache.prewarm.given import REQUESTS_MAX, Options
from agentcache.prewarm.prewarmer import TITLE as AGAIN_TITLE
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.models import Team
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets

_LISTED: Final = 10
#: In Redis a million entries take their time; see `GuardedStore`.
_WITHIN_SECONDS: Final = 30.0
_FIELD_OF: Final = {"older_than_ms": "older_than", "olderThan": "older_than"}


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.CACHE_PURGE)
def invalidate(request: TeamRequest) -> HttpResponse:
    """Take criteria, show what they mean, and invalidate it once that was confirmed."""
    team = request.team_context.team
    given = request.POST if request.method == "POST" else request.GET
    is_asked = any(given.get(name) for name in (*SELECTING, "preview"))
    may_prewarm = request.team_context.may(Permission.PREWARM_RUN)
    form = InvalidateForm(
        given if is_asked else None, initial={} if is_asked else {"notify": True}, may_prewarm=may_prewarm
    )
    context: dict[str, Any] = {"form": form}
    if is_asked and form.is_valid():
        read = _read(form, team)
        if read is not None:
            asked, selector = read
            try:
                if request.method == "POST":
                    return redirect("dashboard:cache-invalidation", _carry_out(request, asked, selector))
                context |= _previewed(team, asked, selector)
            except StoreUnavailable as error:
                form.add_error(None, f"The cache store did not answer: {error.message} Nothing is certain; try again.")
    context["stats"] = _stats(team)
    context["past"] = list_invalidations(team, _LISTED)
    status = 422 if form.errors else 200
    return render(request, "dashboard/invalidate.html", context, status=status)


@require_safe
@team_page(Permission.CACHE_PURGE)
def result(request: TeamRequest, invalidation_id: str) -> HttpResponse:
    """Show what an invalidation met."""
    team = request.team_context.team
    found = find_invalidation(team, invalidation_id)
    if found is None:
        raise Http404
    who = found.who
    if found.event.actor_api_key_id:
        who = labels_of(team, "api_key", [found.event.actor_api_key_id])[found.event.actor_api_key_id]
    return render(request, "dashboard/invalidation.html", {"found": found, "who": who})


def _read(form: InvalidateForm, team: Team) -> tuple[InvalidateRequest, Selector] | None:
    """Return what was asked for, or note in the form what is wrong with it."""
    try:
        asked = form.asked()
        return asked, selector_of(tenant_of(team), asked, time.time())
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`").split("[")[0]
        form.add_error(_FIELD_OF.get(name, name) if name in form.fields else None, f"{said}.")
    except AgentCacheError as error:
        name = _FIELD_OF.get(error.param or "", error.param or "")
        form.add_error(name if name in form.fields else None, error.message)
    return None


def _previewed(team: Team, asked: InvalidateRequest, selector: Selector) -> dict[str, Any]:
    hits = queries.entry_hits(team, int(time.time() * 1000) - WEEK_MS)
    found: Preview = entry_access().call(lambda store: preview(store, tenant_of(team), selector, hits))
    return {
        "asked": asked,
        "again": prewarm.would_ask(team, [selector], timezone.now(), REQUESTS_MAX) if asked.pre_warm else None,
        "preview": found,
        "cost_usd": found.reach.cost_usd_nanos / 1e9,
        "saved_usd": found.saved_usd_nanos / 1e9,
        "hits_since": datetime.fromtimestamp(found.since_ms / 1000, UTC),
        "is_week": found.since_ms <= int(time.time() * 1000) - WEEK_MS + 60_000,
    }


def _carry_out(request: TeamRequest, asked: InvalidateRequest, selector: Selector) -> str:
    team = request.team_context.team
    tenant = tenant_of(team)
    reach = entry_access().call(
        lambda store: store.withdraw(tenant, selector, soft=asked.soft), within_seconds=_WITHIN_SECONDS
    )
    record = InvalidationRecord(
        id=new_id("inv_"), tenant_id=team.pk, at=time.time(), criteria=criteria_of(asked), entries=reach.entries,
        body_bytes=reach.body_bytes, namespaces=reach.namespaces, cost_usd_nanos=reach.cost_usd_nanos,
        is_soft=asked.soft, reason=asked.reason, notify=asked.notify, cause="page",
    )  # fmt: skip
    record_invalidation(record, Actor.of(request))
    if asked.pre_warm:
        again = prewarm.ask_again(
            current_secrets(), team, [selector], timezone.now(), Options(AGAIN_TITLE), limit=REQUESTS_MAX,
            actor=Actor.of(request),
        )  # fmt: skip
        if again.requests:
            messages.success(
                request, f"{again.requests:,} of the kept requests asked again: Jobs shows how far that is."
            )
        else:
            messages.warning(request, f"Nothing is asked again. {again.detail}")
    return record.id


def _stats(team: Team) -> Any:
    try:
        return entry_access().call(lambda store: store.stats(tenant_of(team)))
    except StoreUnavailable:
        return None
