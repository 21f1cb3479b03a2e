"""Sums over a period: in all, over time, and by one dimension. Reads roll-ups only, never single events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet, Sum

from agentcache.analytics.models import UsageCell, UsageTotal
from agentcache.analytics.periods import Period
from agentcache.analytics.queries.figures import TimeSaved, Totals
from agentcache.analytics.queries.filters import NO_FILTERS, Filters, check_breakdown
from agentcache.analytics.rollups import SUMS, Grain
from agentcache.gateway.ports import Outcome
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: Rows of a breakdown that are shown; how many there are is always said.
ROWS_MAX: Final = 25
_SUMS: Final = {f"sum_{name}": Sum(name) for name in SUMS}
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One value of a dimension and its figures."""

    value: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The values with the most requests, most first, and how many values there are."""

    by: str
    rows: tuple[BreakdownRow, ...]
    values: int

    @property
    def is_cut(self) -> bool:
        """Whether there are values that are not shown."""
        return len(self.rows) < self.values


def totals(team: Team, period: Period, filters: Filters = NO_FILTERS) -> Totals:
    """Return a team's figures over a period."""
    found = Totals()
    for span in period.spans():
        rows, _ = _rows(team, span, filters, "")
        for row in rows.values("outcome").annotate(**_SUMS):
            add_row(found, row)
    return found


def timeseries(team: Team, period: Period, filters: Filters = NO_FILTERS) -> list[Totals]:
    """Return the figures of each bucket of a period, in order, without a gap."""
    found = [Totals() for _ in period.starts]
    rows, _ = _rows(team, (period.stored_grain, period.start, period.end), filters, "")
    for row in rows.values("start", "outcome").annotate(**_SUMS):
        add_row(found[period.place(row["start"])], row)
    return found


def breakdown(
    team: Team, period: Period, by: str, filters: Filters = NO_FILTERS, limit: int | None = ROWS_MAX
) -> Breakdown:
    """Return the figures of each value of a dimension, most requests first. Raises `InvalidFilter`."""
    check_breakdown(by, filters)
    if by == "outcome":
        return _by_outcome(totals(team, period, filters))
    found: dict[str, Totals] = {}
    for span in period.spans():
        rows, column = _rows(team, span, filters, by)
        for row in rows.values(column, "outcome").annotate(**_SUMS):
            add_row(found.setdefault(row[column], Totals()), row)
    ordered = sorted(found.items(), key=lambda item: (-item[1].requests, item[0]))
    return Breakdown(by, tuple(BreakdownRow(*item) for item in ordered[:limit]), len(found))


def time_saved(team: Team, period: Period, filters: Filters = NO_FILTERS) -> TimeSaved:
    """Return how much time hits saved, each model's measured against its own misses."""
    # What misses took is needed, whatever outcome is looked at.
    by_model = breakdown(team, period, "model", filters.without("outcome"), None)
    return TimeSaved.of(row.totals for row in by_model.rows)


def _rows(
    team: Team, span: tuple[Grain, int, int], filters: Filters, by: str
) -> tuple[QuerySet[UsageTotal] | QuerySet[UsageCell], str]:
    """Return the fewest roll-ups that can tell, and the column that holds the values of `by`."""
    grain, start, end = span
    wanted: dict[str, Any] = {"grain": grain, "start__gte": start, "start__lt": end}
    if filters.outcome is not None:
        wanted["outcome"] = filters.outcome.value
    given = filters.dimensions
    if len(set(given) | ({by} - {""})) > 1:
        return rows_of(team, UsageCell).filter(**wanted, **given), by
    dimension, value = next(iter(given.items()), (by, None))
    if value is not None:
        wanted["value"] = value
    return rows_of(team, UsageTotal).filter(**wanted, dimension=dimension), "value"


def add_row(found: Totals, row: Mapping[str, Any]) -> None:
    """Add sums that were selected as `sum_…` beside their outcome."""
    outcome = _OUTCOMES.get(row["outcome"])
    if outcome is not None:
        found.add(outcome, [row[name] for name in _SUMS])


def _by_outcome(found: Totals) -> Breakdown:
    rows: Iterator[tuple[Outcome, list[int]]] = ((one, found.sums[one]) for one in Outcome if one in found.sums)
    ordered = sorted(rows, key=lambda item: -item[1][0])
    return Breakdown(
        "outcome", tuple(BreakdownRow(one.value, Totals({one: sums})) for one, sums in ordered), len(ordered)
    )
