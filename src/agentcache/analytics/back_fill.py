"""Brings single events into the roll-ups that are not in them: those from before there were roll-ups.

By the hour, and by counting: an hour whose sums hold fewer requests than its events is summed up anew, in one
transaction that nothing else can write usage beside. Done twice, or begun again after a kill, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F, Max, Min, QuerySet, Sum

from agentcache.analytics import rollup_tables
from agentcache.analytics.histogram import BUCKET_COLUMNS
from agentcache.analytics.models import UsageCell, UsageEvent, UsageLatency, UsageTotal
from agentcache.analytics.retention import ROLLUP_DAYS
from agentcache.analytics.rollups import DIMENSIONS, FILTERED, SUMS, Additions, Grain, Seen, fold
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_HOUR: Final = int(Grain.HOUR)
_DAY: Final = int(Grain.DAY)
_EVENTS_AT_ONCE: Final = 20_000
#: Columns of events that roll-ups are made from.
_COLUMNS: Final = (
    "team_id", "at_ms", "outcome", "api_key_id", "user_id", "model", "namespace", "agent", "status", "freshness", "reason",
    "requests", "input_tokens", "output_tokens", "cost_usd_nanos", "saved_usd_nanos", "latency_us", "upstream_us",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lacking:
    """An hour of a team whose sums do not hold all of its events."""

    team_id: str
    #: Unix seconds.
    start: int

    @property
    def coarser(self) -> list[tuple[int, int]]:
        """The grains that hold it beside others, with the starts of their sums."""
        return [(int(grain), self.start - self.start % grain) for grain in (Grain.DAY, Grain.WEEK)]


def days_of(team_id: str) -> range:
    """Return the starts (Unix seconds) of the days from a team's oldest event to its newest."""
    at = rows_of(Team(id=team_id), UsageEvent).aggregate(oldest=Min("at_ms"), newest=Max("at_ms"))
    if at["oldest"] is None:
        return range(0)
    return range(at["oldest"] // 1000 // _DAY * _DAY, at["newest"] // 1000 + 1, _DAY)


def lacking_hours(team_id: str, day: int, now: float) -> list[Lacking]:
    """Return the hours of a day that have to be summed up anew."""
    # What is about to be pruned would be missing in a moment; the days' sums must not count it twice.
    first = max(day, int(now) - (ROLLUP_DAYS[Grain.HOUR] - 1) * _DAY)
    team = Team(id=team_id)
    events = rows_of(team, UsageEvent).filter(at_ms__gte=day * 1000, at_ms__lt=(day + _DAY) * 1000)
    by_hour = events.annotate(hour=F("at_ms") / (_HOUR * 1000)).values("hour").annotate(requests=Sum("requests"))
    totals = rows_of(team, UsageTotal).filter(dimension="", grain=Grain.HOUR, start__gte=day, start__lt=day + _DAY)
    summed = dict(totals.values_list("start").annotate(requests=Sum("requests")))
    return [
        Lacking(team_id, row["hour"] * _HOUR)
        for row in by_hour.order_by("hour")
        if row["hour"] * _HOUR >= first and row["requests"] > summed.get(row["hour"] * _HOUR, 0)
    ]


def sum_up(hour: Lacking, now: float, seen: Seen) -> bool:
    """Sum an hour up anew from its events; False when nothing was missing after all.

    `seen` is what is known of the values in use; one for all hours of a day saves reading them again.
    """
    with transaction.atomic():
        _keep_others_out()
        if not _lacks(hour):
            return False
        rollup_tables.keep(_taken_back(hour))
        for rows in _event_rows(hour):
            additions = fold(rows, _COLUMNS, seen)
            additions.leave_out(Grain.FIVE_MINUTES, int(now) - ROLLUP_DAYS[Grain.FIVE_MINUTES] * _DAY)
            rollup_tables.keep(additions)
        for grain, start in hour.coarser:
            empty = {"grain": grain, "start": start, "requests": 0}
            rows_of(Team(id=hour.team_id), UsageTotal).filter(dimension__in=DIMENSIONS, **empty).delete()
            rows_of(Team(id=hour.team_id), UsageCell).filter(**empty).delete()
    return True


def _lacks(hour: Lacking) -> bool:
    known = _totals(hour, Grain.HOUR).filter(dimension="").aggregate(requests=Sum("requests"))["requests"]
    kept = _events(hour).aggregate(requests=Sum("requests"))["requests"]
    return int(kept or 0) > int(known or 0)


def _keep_others_out() -> None:
    # SQLite's transactions are IMMEDIATE: nobody else writes. On PostgreSQL this waits for batches of events that are
    # under way, holds up new ones and other back-fills, and lets everybody read.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {UsageEvent._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def _events(hour: Lacking) -> QuerySet[UsageEvent]:
    return rows_of(Team(id=hour.team_id), UsageEvent).filter(
        at_ms__gte=hour.start * 1000, at_ms__lt=(hour.start + _HOUR) * 1000
    )


def _event_rows(hour: Lacking) -> Iterator[list[tuple[Any, ...]]]:
    part: list[tuple[Any, ...]] = []
    for row in _events(hour).order_by("at_ms").values_list(*_COLUMNS).iterator(chunk_size=_EVENTS_AT_ONCE):
        part.append(row)
        if len(part) == _EVENTS_AT_ONCE:
            yield part
            part = []
    yield part


def _totals(hour: Lacking, grain: Grain) -> QuerySet[UsageTotal]:
    return _within(rows_of(Team(id=hour.team_id), UsageTotal).filter(dimension__in=DIMENSIONS), hour, grain)


def _within(rows: QuerySet[Any], hour: Lacking, grain: Grain) -> QuerySet[Any]:
    return rows.filter(grain=grain, start__gte=hour.start, start__lt=hour.start + _HOUR)


def _taken_back(hour: Lacking) -> Additions:
    """Delete an hour's sums, and return what takes them out of those of its day and week."""
    team = Team(id=hour.team_id)
    latencies = rows_of(team, UsageLatency).filter(dimension__in=("", *FILTERED))
    cells = rows_of(team, UsageCell)
    additions = Additions()
    of_hour = _totals(hour, Grain.HOUR)
    for dimension, value, outcome, *sums in of_hour.values_list("dimension", "value", "outcome", *SUMS):
        for grain, start in hour.coarser:
            additions.totals[team.pk, dimension, grain, start, value, outcome] = [-number for number in sums]
    of_hour = _within(latencies, hour, Grain.HOUR)
    for dimension, value, answer, *counts in of_hour.values_list("dimension", "value", "answer", *BUCKET_COLUMNS):
        for grain, start in hour.coarser:
            additions.latencies[team.pk, dimension, grain, start, value, answer] = [-number for number in counts]
    of_hour = _within(cells, hour, Grain.HOUR)
    width = len(FILTERED) + 1
    for row in of_hour.values_list(*FILTERED, "outcome", *SUMS):
        for grain, start in hour.coarser:
            additions.cells[team.pk, grain, start, *row[:width]] = [-number for number in row[width:]]
    for fine in (Grain.FIVE_MINUTES, Grain.HOUR):
        for rows in (_totals(hour, fine), _within(latencies, hour, fine), _within(cells, hour, fine)):
            rows.delete()
    return additions
