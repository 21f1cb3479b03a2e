"""Figures of the whole server, over all of its teams. Sums only: nothing here tells one team from another."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Sum

from agentcache.analytics.histogram import BUCKET_COLUMNS
from agentcache.analytics.models import UsageLatency, UsageTotal
from agentcache.analytics.periods import Period
from agentcache.analytics.queries.figures import Totals
from agentcache.analytics.queries.latency import Latency, LatencyCounts
from agentcache.analytics.queries.sums import add_sums
from agentcache.analytics.rollups import SUMS, Grain
from agentcache.teams.models import Team

_SUMS = {f"sum_{name}": Sum(name) for name in SUMS}
_BUCKETS = {f"sum_{name}": Sum(name) for name in BUCKET_COLUMNS}


def installation_totals(period: Period) -> Totals:
    """Return the figures of all teams over a period."""
    found = Totals()
    for span in period.spans():
        for outcome, *sums in UsageTotal.objects.filter(**_of_all(span)).values_list("outcome").annotate(**_SUMS):
            add_sums(found, outcome, sums)
    return found


def installation_latency(period: Period) -> Latency:
    """Return the percentiles of all teams over a period."""
    counts = LatencyCounts()
    for span in period.spans():
        for row in UsageLatency.objects.filter(**_of_all(span)).values_list("answer").annotate(**_BUCKETS):
            counts.add("", *row)
    return counts.latency("")


def active_teams(period: Period) -> int:
    """Return how many teams made a request in the part of a period that has most of them."""
    counts = [
        UsageTotal.objects.filter(**_of_all(span)).aggregate(teams=Count("team_id", distinct=True))["teams"]
        for span in period.spans()
    ]
    return max(counts, default=0)


def _of_all(span: tuple[Grain, int, int]) -> dict[str, Any]:
    grain, start, end = span
    # By the teams, with whose id the index begins: without them every row of every grain would be looked at.
    return {
        "team_id__in": Team.objects.values("pk"),
        "dimension": "",
        "grain": grain,
        "start__gte": start,
        "start__lt": end,
    }
