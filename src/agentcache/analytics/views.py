"""The pages of analytics."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agentcache.analytics.asking import Asking
from agentcache.analytics.csv_files import csv_response
from agentcache.analytics.reports import Material, Report, chart_rows, table_rows
from agentcache.analytics.sections import SECTIONS
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission


@require_safe
@team_page(Permission.STATS_READ)
def section(request: TeamRequest, name: str = "cost") -> HttpResponse:
    """Show one page of analytics."""
    asking, title, report = _report(request, name)
    tabs = [(label, asking.url(reverse("analytics:section", args=[key]))) for key, (label, _) in SECTIONS.items()]
    context = {
        "title": title,
        "report": report,
        "asking": asking,
        "chips": asking.chips(request.team_context.team),
        "tabs": tabs,
        "current": asking.url(reverse("analytics:section", args=[name])),
        "compare_url": asking.url(compare="" if asking.compares else "1"),
    }
    return render(request, "analytics/section.html", context)


@require_safe
@team_page(Permission.STATS_READ)
def export(request: TeamRequest, name: str) -> HttpResponse:
    """Send a chart or a table of a page as CSV: the figures that the page shows."""
    _, _, report = _report(request, name)
    part = request.GET.get("part", "")
    day = datetime.now(UTC).date().isoformat()
    for chart in report.charts:
        if chart.id == part:
            return csv_response(f"agentcache-{name}-{part}-{day}", *chart_rows(chart))
    for table in report.tables:
        if table.id == part:
            return csv_response(f"agentcache-{name}-by-{part}-{day}", *table_rows(table))
    raise Http404


def _report(request: TeamRequest, name: str) -> tuple[Asking, str, Report]:
    if name not in SECTIONS:
        raise Http404
    title, make = SECTIONS[name]
    team = request.team_context.team
    asking = Asking.of(team, request.GET)
    return asking, title, make(Material(team, asking, reverse("analytics:export", args=[name])))
