"""Single requests: the live list, and one with why it was a hit or a miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from agentcache.analytics import queries
from agentcache.analytics.asking import TITLES
from agentcache.analytics.definitions import OUTCOMES
from agentcache.analytics.labels import labels_of
from agentcache.analytics.models import UsageEvent
from agentcache.analytics.queries import NONE, EventFilters, Filters
from agentcache.gateway.ports import Outcome
from agentcache.gateway.refusals import REFUSALS
from agentcache.kit.errors import BadRequest
from agentcache.policies import queries as policies
from agentcache.quotas.queries import plan_of
from agentcache.semantics import queries as semantics
from agentcache.semantics.views import NearRow, near_rows
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.permissions import Permission
from agentcache.teams.tenancy import rows_of

#: Words of `Cache-Status` and codes of problems, for people.
REASONS: Final = {
    "miss": "No stored answer for this cache key.",
    "uri-miss": "No stored answer for this cache key.",
    "vary-miss": "Stored answers exist, but for other request headers.",
    "stale": "The stored answer was past its lifetime.",
    "bypass": "The caller, or the kind of request, asked not to use the cache.",
    "request": "The caller asked for a new answer.",
    "method": "Requests of this kind are never answered from the cache.",
    "hit": "A stored answer with the same cache key was fresh.",
    "stale-while-revalidate": "The stored answer was past its lifetime, inside the window in which it is served at once "
    "while a new one is fetched.",
    "stale-if-error": "The provider failed, and the stored answer was inside the window in which it stands in.",
    "policy": "A policy of the team keeps requests like this out of the cache.",
    "collapsed": "An identical request was under way; its answer was shared.",
    **REFUSALS,
}


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as it is listed."""

    event: UsageEvent
    api_key: str
    member: str

    @property
    def at(self) -> datetime:
        """When it ended."""
        return datetime.fromtimestamp(self.event.at_ms / 1000, UTC)

    @property
    def latency_ms(self) -> float:
        """How long it took."""
        return self.event.latency_us / 1000

    @property
    def upstream_ms(self) -> float | None:
        """How long the provider took, or None when it was not asked or not measured."""
        return self.event.upstream_us / 1000 if self.event.upstream_us else None

    @property
    def cost_usd(self) -> float:
        """What the provider charged."""
        return self.event.cost_usd_nanos / 1e9

    @property
    def saved_usd(self) -> float:
        """What was not paid again."""
        return self.event.saved_usd_nanos / 1e9

    @property
    def outcome_text(self) -> str:
        """What the outcome means."""
        return OUTCOMES[Outcome(self.event.outcome)]

    @property
    def why(self) -> str:
        """Why it was a hit or a miss, in words where we have them."""
        if self.event.outcome == Outcome.SEMANTIC.value:
            return ""  # its near question says more
        first = self.event.reason.partition(";")[0].strip().removeprefix("fwd=")
        return REASONS.get(first, "")


@require_safe
@team_page(Permission.REQUESTS_READ)
def requests(request: TeamRequest) -> HttpResponse:
    """List requests, newest first; the list renews itself while it shows the newest."""
    team, query = request.team_context.team, request.GET
    problem = ""
    try:
        filters = _filters(query.dict())
        page = queries.list_events(team, filters, before=query.get("before", ""))
    except BadRequest as error:
        problem, filters = error.message, EventFilters()
        page = queries.list_events(team, filters)
    context = {
        "rows": request_rows(team, page.rows),
        "page": page,
        "problem": problem,
        "asked": query.dict(),
        "is_filtered": bool(filters.conditions),
        "chips": _chips(team, filters),
        "keys": rows_of(team, ApiKey).order_by("name").values_list("pk", "name"),
        "outcomes": labels_of(team, "outcome", [outcome.value for outcome in Outcome]),
        "searched_max": queries.SEARCHED_MAX,
        "kept_days": plan_of(team).retention_days,
        "is_live": not query.get("before") and query.get("live") != "0",
        "now": datetime.now(UTC),
    }
    # The live list asks for itself only; "back" asks for the whole page.
    is_list = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    answer = render(request, "dashboard/request_list.html" if is_list else "dashboard/requests.html", context)
    patch_vary_headers(answer, ("HX-Request", "HX-History-Restore-Request"))
    return answer


@require_safe
@team_page(Permission.REQUESTS_READ)
def request_page(request: TeamRequest, request_id: str) -> HttpResponse:
    """Show one request."""
    team = request.team_context.team
    event = queries.find_event(team, request_id)
    if event is None:
        raise Http404
    [row] = request_rows(team, [event])
    context = {
        "row": row,
        "event": event,
        "may_read_cache": request.team_context.may(Permission.CACHE_READ),
        "policy": policies.name_of(team, event.policy) if event.policy else "",
        "temperature": event.temperature_milli / 1000 if event.temperature_milli >= 0 else None,
        "near": _near(request, event),
        "may_report": request.team_context.may(Permission.CACHE_PURGE),
        "is_caller_less": event.outcome in (Outcome.PREWARM.value, Outcome.REFRESH.value),
    }
    return render(request, "dashboard/request.html", context)


def _near(request: TeamRequest, event: UsageEvent) -> NearRow | None:
    """Return the near question that a request came to, for those who may see it."""
    if not request.team_context.may(Permission.SEMANTICS_READ):
        return None
    team = request.team_context.team
    row = semantics.find_of_request(team, event.pk)
    return near_rows(team, [row])[0] if row is not None else None


def _filters(query: dict[str, str]) -> EventFilters:
    entry_key = query.get("entry", "").strip().lower()
    return EventFilters(Filters.of(query), query.get("status", "").strip(), entry_key)


def _chips(team: Team, filters: EventFilters) -> list[tuple[str, str, str]]:
    """Return the filters that hold: name in the address, value and title as people know them."""
    chips = [
        (name, labels_of(team, name, [shown])[shown], TITLES[name])
        for name, value in filters.common.query.items()
        for shown in ["" if value == NONE else value]
    ]
    own = [("status", filters.status, TITLES["status"]), ("entry", filters.entry_key[:12], "Cache key")]
    return chips + [chip for chip in own if chip[1]]


def request_rows(team: Team, events: Sequence[UsageEvent]) -> list[RequestRow]:
    """Return requests with the names of whom they were for."""
    keys = labels_of(team, "api_key", {event.api_key_id for event in events})
    members = labels_of(team, "member", {event.user_id for event in events})
    return [RequestRow(event, keys[event.api_key_id], members[event.user_id]) for event in events]
