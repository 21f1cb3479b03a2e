"""Percentiles of how long answers took, hits and misses apart, from summed histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet, Sum

from agentcache.analytics.definitions import SMALLEST_SAMPLE
from agentcache.analytics.errors import InvalidFilter
from agentcache.analytics.histogram import BUCKET_COLUMNS, percentile
from agentcache.analytics.models import UsageLatency
from agentcache.analytics.periods import Period
from agentcache.analytics.queries.filters import NO_FILTERS, Filters
from agentcache.analytics.rollups import FILTERED, Grain
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_SUMS: Final = {f"sum_{name}": Sum(name) for name in BUCKET_COLUMNS}
_ROWS_MAX: Final = 25


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long requests took, in microseconds; None without a request."""

    requests: int
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None

    @property
    def is_weak(self) -> bool:
        """Whether they rest on too few requests to mean much."""
        return 0 < self.requests < SMALLEST_SAMPLE

    @classmethod
    def of(cls, counts: Sequence[int]) -> Percentiles:
        """Read the percentiles from a histogram."""
        return cls(sum(counts), percentile(counts, 0.5), percentile(counts, 0.95), percentile(counts, 0.99))


@dataclass(frozen=True, slots=True)
class Latency:
    """Hits and misses of the same requests' kind."""

    hit: Percentiles
    miss: Percentiles


def may_tell(filters: Filters) -> bool:
    """Say whether there are histograms under these filters: by one dimension at a time, hits and misses together."""
    return len(filters.dimensions) <= 1 and filters.outcome is None


def latency(team: Team, period: Period, filters: Filters = NO_FILTERS) -> Latency:
    """Return the percentiles of a period. Raises `InvalidFilter`."""
    return latency_of(_rows(team, span, filters, "") for span in period.spans())


def latency_of(parts: Iterable[QuerySet[UsageLatency]]) -> Latency:
    """Return the percentiles of all histograms in some rows together."""
    counts = _Counts()
    for rows in parts:
        for row in rows.values("answer").annotate(**_SUMS):
            counts.add("", row)
    return counts.latency("")


def latency_series(team: Team, period: Period, filters: Filters = NO_FILTERS) -> list[Latency]:
    """Return the percentiles of each bucket of a period, in order. Raises `InvalidFilter`."""
    counts = _Counts()
    rows = _rows(team, (period.stored_grain, period.start, period.end), filters, "")
    for row in rows.values("start", "answer").annotate(**_SUMS):
        counts.add(period.place(row["start"]), row)
    return [counts.latency(place) for place in range(len(period.starts))]


def latency_breakdown(team: Team, period: Period, by: str) -> list[tuple[str, Latency]]:
    """Return the percentiles of a dimension's values with the most requests, most first. Raises `InvalidFilter`."""
    if by not in FILTERED:
        raise InvalidFilter(f"{by[:20]!r} is not one of {', '.join(FILTERED)}.", param="by")
    counts = _Counts()
    for span in period.spans():
        for row in _rows(team, span, NO_FILTERS, by).values("value", "answer").annotate(**_SUMS):
            counts.add(row["value"], row)
    values = {value for value, _ in counts.found}
    found = [(str(value), counts.latency(value)) for value in values]
    found.sort(key=lambda item: (-item[1].hit.requests - item[1].miss.requests, item[0]))
    return found[:_ROWS_MAX]


class _Counts:
    def __init__(self) -> None:
        self.found: dict[tuple[str | int, str], list[int]] = {}

    def add(self, group: str | int, row: Mapping[str, Any]) -> None:
        former = self.found.get((group, row["answer"]), [0] * len(BUCKET_COLUMNS))
        self.found[group, row["answer"]] = [one + int(row[name] or 0) for one, name in zip(former, _SUMS, strict=True)]

    def latency(self, group: str | int) -> Latency:
        return Latency(*(Percentiles.of(self.found.get((group, answer), ())) for answer in ("hit", "miss")))


def _rows(team: Team, span: tuple[Grain, int, int], filters: Filters, by: str) -> QuerySet[UsageLatency]:
    if not may_tell(filters):
        raise InvalidFilter("Percentiles can be filtered by one dimension at a time, and not by outcome.")
    dimension, value = next(iter(filters.dimensions.items()), (by, None))
    grain, start, end = span
    rows = rows_of(team, UsageLatency).filter(dimension=dimension, grain=grain, start__gte=start, start__lt=end)
    return rows if value is None else rows.filter(value=value)
