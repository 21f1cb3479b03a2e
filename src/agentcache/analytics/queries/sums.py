"""Sums over a period: in all, over time, and by one dimension. Reads roll-ups only, never single events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentcache.analytics.models import UsageCell, UsageTotal
from agentcache.analytics.periods import Period
from agentcache.analytics.queries.figures import TimeSaved, Totals
from agentcache.analytics.queries.filters import NO_FILTERS, Filters, check_breakdown
from agentcache.analytics.queries.grouped import BUCKET, grouped
from agentcache.analytics.rollups import SUMS, Grain
from agentcache.gateway.ports import Outcome
from agentcache.teams.models import Team

#: Rows of a breakdown that are shown; how many there are is always said.
ROWS_MAX: Final = 25
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
    rows = _Rows.of(filters, "")
    for span in period.spans():
        for outcome, *sums in rows.read(team, span, "outcome"):
            add_sums(found, outcome, sums)
    return found


def timeseries(team: Team, period: Period, filters: Filters = NO_FILTERS) -> list[Totals]:
    """Return the figures of each bucket of a period, in order, without a gap."""
    found = [Totals() for _ in period.starts]
    rows = _Rows.of(filters, "")
    for first, start, end, seconds in period.runs():
        # By bucket and not by roll-up: days of most zones are made of hours, and would come as 24 times the rows.
        span = (period.stored_grain, start, end)
        for bucket, outcome, *sums in rows.read(team, span, BUCKET, "outcome", bucket=(start, seconds)):
            add_sums(found[first + bucket], outcome, sums)
    return found


def timeseries_by(team: Team, period: Period, by: str) -> dict[str, list[int]]:
    """Return the requests of each bucket of a period by the values of a dimension, without filters."""
    found: dict[str, list[int]] = {}
    rows = _Rows.of(NO_FILTERS, by)
    for first, start, end, seconds in period.runs():
        span = (period.stored_grain, start, end)
        for bucket, value, requests, *_ in rows.read(team, span, BUCKET, rows.column, bucket=(start, seconds)):
            found.setdefault(value, [0] * len(period.starts))[first + bucket] += int(requests)
    return found


def breakdown(
    team: Team, period: Period, by: str, filters: Filters = NO_FILTERS, limit: int | None = ROWS_MAX
) -> Breakdown:
    """Return the figures of each value of a dimension, most requests first. Raises `InvalidFilter`."""
    check_breakdown(by, filters)
    if by == "outcome":
        return _by_outcome(totals(team, period, filters))
    found: dict[str, Totals] = {}
    rows = _Rows.of(filters, by)
    for span in period.spans():
        for value, outcome, *sums in rows.read(team, span, rows.column, "outcome"):
            add_sums(found.setdefault(value, Totals()), outcome, sums)
    return _ordered(by, found, limit)


def breakdowns(team: Team, period: Period, wanted: Sequence[str], filters: Filters) -> dict[str, Breakdown]:
    """Return breakdowns by several of the dimensions that can be filtered by, under filters, read all at once."""
    found: dict[str, dict[str, Totals]] = {by: {} for by in wanted}
    rows = _Rows(UsageCell, _conditions(filters), "")
    for span in period.spans():
        for row in rows.read(team, span, *wanted, "outcome"):
            outcome, sums = row[len(wanted)], row[len(wanted) + 1 :]
            for by, value in zip(wanted, row, strict=False):
                add_sums(found[by].setdefault(value, Totals()), outcome, sums)
    return {by: _ordered(by, values, None) for by, values in found.items()}


def _ordered(by: str, found: Mapping[str, Totals], limit: int | None) -> Breakdown:
    ordered = sorted(found.items(), key=lambda item: (-item[1].requests, item[0]))
    return Breakdown(by, tuple(BreakdownRow(*item) for item in ordered[:limit]), len(found))


def time_saved(team: Team, period: Period, filters: Filters = NO_FILTERS) -> TimeSaved:
    """Return how much time hits saved, each model's measured against its own misses."""
    # What misses took is needed, whatever outcome is looked at.
    by_model = breakdown(team, period, "model", filters.without("outcome"), None)
    return TimeSaved.of(row.totals for row in by_model.rows)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The fewest roll-ups that can tell."""

    model: type[UsageTotal | UsageCell]
    where: dict[str, str]
    #: Holds the values that figures are broken down by.
    column: str

    @classmethod
    def of(cls, filters: Filters, by: str) -> _Rows:
        given = filters.dimensions
        if len(set(given) | ({by} - {""})) > 1:
            return cls(UsageCell, _conditions(filters), by)
        dimension, value = next(iter(given.items()), (by, None))
        only = {} if value is None else {"value": value}
        return cls(UsageTotal, {"dimension": dimension, **only, **_conditions(filters.by_outcome_only)}, "value")

    def read(
        self, team: Team, span: tuple[Grain, int, int], *by: str, bucket: tuple[int, int] = (0, 1)
    ) -> list[tuple[Any, ...]]:
        return grouped(team, self.model, by, SUMS, span, self.where, bucket)


def _conditions(filters: Filters) -> dict[str, str]:
    return filters.dimensions | ({"outcome": filters.outcome.value} if filters.outcome is not None else {})


def add_sums(found: Totals, name: str, sums: Sequence[int]) -> None:
    """Add the sums of requests that ended in one way, in the order of `rollups.SUMS`."""
    outcome = _OUTCOMES.get(name)
    if outcome is not None:
        found.add(outcome, sums)


def _by_outcome(found: Totals) -> Breakdown:
    rows: Iterator[tuple[Outcome, list[int]]] = ((one, found.sums[one]) for one in Outcome if one in found.sums)
    ordered = sorted(rows, key=lambda item: -item[1][0])
    return Breakdown(
        "outcome", tuple(BreakdownRow(one.value, Totals({one: sums})) for one, sums in ordered), len(ordered)
    )
