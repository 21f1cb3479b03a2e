"""The overview: what happened, what it saved, and who did it."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings as django_conf
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agentcache.accounts.access import user_of
from agentcache.analytics import queries
from agentcache.analytics.asking import Asking
from agentcache.analytics.csv_files import csv_response
from agentcache.analytics.reports import ERRORS, HIT_RATE, REQUESTS, SAVED, Material, Stat, chart_rows, table_rows
from agentcache.analytics.sections import requests_chart
from agentcache.dashboard.checklist import checklist_of
from agentcache.dashboard.key_figures import BarShown
from agentcache.dashboard.key_snippets import snippets
from agentcache.design import formats
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.queries import usage_of
from agentcache.settings import Settings
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission

_TOP_ROWS = 8
#: The shell puts the key in.
_KEY_VARIABLE = "$AGENTCACHE_API_KEY"
_COLUMNS = (REQUESTS, HIT_RATE, SAVED)


@require_safe
@team_page(Permission.STATS_READ)
def overview(request: TeamRequest) -> HttpResponse:
    """Show the team's key figures, or how to make the first request."""
    team, now = request.team_context.team, datetime.now(UTC)
    asking = Asking.of(team, request.GET, now=now)
    material = Material(team, asking, reverse("dashboard:overview-csv"))
    is_empty = not material.totals.requests and not queries.has_events(team)
    usage = usage_of(team, now)
    as_of = queries.data_as_of(_settings().data_dir, now.timestamp())
    context: dict[str, object] = {
        "asking": asking,
        "is_empty": is_empty,
        "checklist": checklist_of(user_of(request), request.team_context),
        "usage": usage,
        "bars": [BarShown.of(bar) for bar in usage.bars if bar.kind == SubjectKind.TEAM],
        "as_of": as_of,
        "behind_seconds": now.timestamp() - as_of,
    }
    if is_empty:
        context |= {
            "calls": [
                (one.label, one.code) for one in snippets(_KEY_VARIABLE, _settings().origin) if "curl" in one.label
            ],
            "may_manage_keys": request.team_context.may(Permission.KEYS_MANAGE),
        }
    else:
        context |= {
            "chips": asking.chips(team),
            "stats": _stats(material),
            "chart": requests_chart(material),
            "tables": [
                material.table(by, _COLUMNS, top=_TOP_ROWS) for by in material.open_dimensions("api_key", "model")
            ],
        }
    return render(request, "dashboard/overview.html", context)


@require_safe
@team_page(Permission.STATS_READ)
def overview_csv(request: TeamRequest) -> HttpResponse:
    """Send a part of the overview as CSV: the figures that it shows."""
    team = request.team_context.team
    material = Material(team, Asking.of(team, request.GET))
    part = request.GET.get("part", "")
    if part in ("api_key", "model"):
        return csv_response(f"agentcache-by-{part}", *table_rows(material.table(part, _COLUMNS, top=_TOP_ROWS)))
    return csv_response("agentcache-requests", *chart_rows(requests_chart(material)))


@require_safe
@team_page(Permission.STATS_READ)
def first_request(request: TeamRequest) -> HttpResponse:
    """Tell a page that waits for the team's first request to load itself anew once it was counted."""
    answer = HttpResponse(status=204)
    if queries.has_events(request.team_context.team):
        answer["HX-Refresh"] = "true"
    return answer


def _stats(material: Material) -> list[Stat]:
    totals = material.totals
    weak = ", too few to say" if totals.is_hit_ratio_weak else ""
    return [
        material.stat("requests", REQUESTS.figure),
        material.stat(
            "hit_ratio", HIT_RATE.figure, "percent", note=f"of {formats.number(totals.lookups)} look-ups{weak}"
        ),
        material.stat("net_saved_usd", SAVED.figure, "usd", note=f"{formats.usd(totals.cost_usd_nanos / 1e9)} paid"),
        material.time_saved_stat,
        material.stat(
            "errors",
            ERRORS.figure,
            note=f"{formats.number(totals.error_ratio, 'percent')} of requests",
            is_more_good=False,
        ),
    ]


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
