"""The JSON API of usage and savings, for members and for keys that may read statistics."""

from __future__ import annotations

from datetime import UTC, datetime

from ninja import Query, Router

from agentcache.analytics import queries
from agentcache.analytics.labels import labels_of
from agentcache.analytics.periods import Period, Preset, period_of
from agentcache.analytics.queries import Filters
from agentcache.analytics.retention import comparable, reach_of
from agentcache.analytics.schemas import (
    Asked,
    BreakdownRowShown,
    BreakdownShown,
    Figures,
    LatencyShown,
    PeriodShown,
    Stats,
    TimeSavedShown,
    Timeseries,
)
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission

router = Router(auth=TeamAuth(Permission.STATS_READ), tags=["stats"])


@router.get("", response=Stats, operation_id="stats.read")
def read_stats(request: TeamRequest, asked: Query[Asked]) -> Stats:
    """Return the team's usage and savings over a period, and over the one before."""
    team = request.team_context.team
    period, filters = _meant(request, asked)
    before = comparable(period, datetime.now(UTC))
    return Stats(
        period=PeriodShown.of(period),
        figures=Figures.of(queries.totals(team, period, filters)),
        time_saved=TimeSavedShown.of(queries.time_saved(team, period, filters)),
        previous_period=PeriodShown.of(period.previous()),
        previous=None if before is None else Figures.of(queries.totals(team, before, filters)),
    )


@router.get("/timeseries", response=Timeseries, operation_id="stats.timeseries")
def read_timeseries(request: TeamRequest, asked: Query[Asked]) -> Timeseries:
    """Return the team's usage and savings for each bucket of a period."""
    period, filters = _meant(request, asked)
    return Timeseries.of(period, queries.timeseries(request.team_context.team, period, filters))


@router.get("/breakdown", response=BreakdownShown, operation_id="stats.breakdown")
def read_breakdown(request: TeamRequest, asked: Query[Asked], by: str = "model", limit: int = 25) -> BreakdownShown:
    """Return usage by api_key, member, model, namespace, agent, outcome, status, freshness or reason."""
    team = request.team_context.team
    period, filters = _meant(request, asked)
    found = queries.breakdown(team, period, by, filters, max(1, min(1000, limit)))
    labels = labels_of(team, by, [row.value for row in found.rows])
    rows = [
        BreakdownRowShown(value=row.value, label=labels[row.value], figures=Figures.of(row.totals))
        for row in found.rows
    ]
    return BreakdownShown(period=PeriodShown.of(period), by=by, rows=rows, values=found.values)


@router.get("/latency", response=LatencyShown, operation_id="stats.latency")
def read_latency(request: TeamRequest, asked: Query[Asked]) -> LatencyShown:
    """Return percentiles of how long hits and misses took; takes one filter, and none by outcome."""
    team = request.team_context.team
    period, filters = _meant(request, asked)
    found = queries.latency(team, period, filters)
    return LatencyShown.of(period, found, queries.latency_series(team, period, filters))


def _meant(request: TeamRequest, asked: Asked) -> tuple[Period, Filters]:
    now = datetime.now(UTC)
    reach = reach_of(request.team_context.team, now)
    period = period_of(
        preset=asked.period, start=asked.start, end=asked.end, zone=asked.zone, now=now,
        default=reach.longest(Preset.MONTH),
    )  # fmt: skip
    return reach.check(period), Filters.of(asked.dict())
