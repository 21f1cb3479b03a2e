"""Percentiles of how long answers took, hits and misses apart, from summed histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add
from typing import Final

from agentcache.analytics.definitions import SMALLEST_SAMPLE
from agentcache.analytics.errors import InvalidFilter
from agentcache.analytics.histogram import BUCKET_COLUMNS, percentile
from agentcache.analytics.models import UsageLatency
from agentcache.analytics.periods import Period
from agentcache.analytics.queries.filters import NO_FILTERS, Filters
from agentcache.analytics.queries.grouped import BUCKET, grouped
from agentcache.analytics.rollups import FILTERED
from agentcache.teams.models import Team

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


#: Of no request at all.
NO_LATENCY: Final = Latency(Percentiles.of(()), Percentiles.of(()))


def may_tell(filters: Filters) -> bool:
    """Say whether there are histograms under these filters: by one dimension at a time, hits and misses together."""
    return len(filters.dimensions) <= 1 and filters.outcome is None


def latency(team: Team, period: Period, filters: Filters = NO_FILTERS) -> Latency:
    """Return the percentiles of a period. Raises `InvalidFilter`."""
    counts = LatencyCounts()
    where = _where(filters, "")
    for span in period.spans():
        for row in grouped(team, UsageLatency, ("answer",), BUCKET_COLUMNS, span, where):
            counts.add("", *row)
    return counts.latency("")


def latency_series(team: Team, period: Period, filters: Filters = NO_FILTERS) -> list[Latency]:
    """Return the percentiles of each bucket of a period, in order. Raises `InvalidFilter`."""
    counts = LatencyCounts()
    where = _where(filters, "")
    for first, start, end, seconds in period.runs():
        span = (period.stored_grain, start, end)
        by = (BUCKET, "answer")
        for bucket, *row in grouped(team, UsageLatency, by, BUCKET_COLUMNS, span, where, (start, seconds)):
            counts.add(first + bucket, *row)
    return [counts.latency(place) for place in range(len(period.starts))]


def latency_breakdown(team: Team, period: Period, by: str) -> tuple[list[tuple[str, Latency]], int]:
    """Return the percentiles of a dimension's values with the most requests, most first, and how many values there are.

    Raises `InvalidFilter`.
    """
    if by not in FILTERED:
        raise InvalidFilter(f"{by[:20]!r} is not one of {', '.join(FILTERED)}.", param="by")
    counts = LatencyCounts()
    where = _where(NO_FILTERS, by)
    for span in period.spans():
        for row in grouped(team, UsageLatency, ("value", "answer"), BUCKET_COLUMNS, span, where):
            counts.add(*row)
    values = {value for value, _ in counts.found}
    found = [(str(value), counts.latency(value)) for value in values]
    found.sort(key=lambda item: (-item[1].hit.requests - item[1].miss.requests, item[0]))
    return found[:_ROWS_MAX], len(found)


class LatencyCounts:
    """Adds histograms up, by group and for hits and misses."""

    def __init__(self) -> None:
        self.found: dict[tuple[str | int, str], list[int]] = {}

    def add(self, group: str | int, answer: str, *counts: int) -> None:
        """Add one histogram."""
        former = self.found.get((group, answer))
        # PostgreSQL adds up numbers as decimals, where they could grow too large.
        self.found[group, answer] = [*map(int, counts if former is None else map(add, former, counts))]

    def latency(self, group: str | int) -> Latency:
        """Return the percentiles of a group."""
        return Latency(*(Percentiles.of(self.found.get((group, answer), ())) for answer in ("hit", "miss")))


def _where(filters: Filters, by: str) -> dict[str, str]:
    if not may_tell(filters):
        raise InvalidFilter("Percentiles can be filtered by one dimension at a time, and not by outcome.")
    dimension, value = next(iter(filters.dimensions.items()), (by, None))
    return {"dimension": dimension} | ({} if value is None else {"value": value})
