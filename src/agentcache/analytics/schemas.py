"""Shapes of the JSON API for usage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ninja import Field, Schema

from agentcache.analytics.periods import Period
from agentcache.analytics.queries import Latency, Percentiles, TimeSaved, Totals
from agentcache.gateway.ports import Outcome


class Asked(Schema):
    """What usage is asked for: a period and filters."""

    period: str = Field("", description="1h, 24h, 7d, 30d (default, or the longest that the plan shows), 90d or mtd")
    start: str = Field("", description="Begin of a custom period: a day (2027-01-31) or a time (ISO 8601)")
    end: str = Field("", description="End of a custom period; a day is meant whole")
    zone: str = Field("", description="Time zone in which days begin, such as Europe/Berlin; UTC by default")
    api_key: str = Field("", description="Id of an API key; (none) for requests without")
    member: str = Field("", description="Id of the user who made the API key")
    model: str = ""
    namespace: str = ""
    agent: str = Field("", description="As sent in X-AgentCache-Agent; (none) for requests without")
    outcome: str = Field("", description="exact, semantic, stale, coalesced, miss, bypass, error or refused")


class PeriodShown(Schema):
    """The period that was meant."""

    start: datetime
    end: datetime
    bucket_seconds: int
    zone: str
    #: Whether the last bucket is still filling.
    is_unfinished: bool

    @classmethod
    def of(cls, period: Period) -> PeriodShown:
        """Describe a period."""
        return cls(
            start=_time(period.start),
            end=_time(period.end),
            bucket_seconds=int(period.bucket),
            zone=period.zone,
            is_unfinished=period.unfinished is not None,
        )


class Figures(Schema):
    """Figures of some requests; defined in the metrics reference. Money in US dollars, shares from 0 to 1, or null."""

    requests: int
    hits: int
    coalesced: int
    misses: int
    bypasses: int
    errors: int
    refused: int
    outcomes: dict[str, int]
    hit_ratio: float | None
    error_ratio: float | None
    input_tokens: int
    output_tokens: int
    saved_tokens: int
    cost_usd: float
    saved_usd: float
    caching_cost_usd: float
    net_saved_usd: float

    @classmethod
    def of(cls, totals: Totals) -> Figures:
        """Show totals."""
        return cls(**figures_of(totals))


def figures_of(totals: Totals) -> dict[str, Any]:
    """Return totals by the names that they have in `definitions` and in the API."""
    return {
        "requests": totals.requests,
        "hits": totals.hits,
        "coalesced": totals.coalesced,
        "misses": totals.misses,
        "bypasses": totals.bypasses,
        "errors": totals.errors,
        "refused": totals.refused,
        "outcomes": {outcome.value: totals.by_outcome[outcome] for outcome in Outcome},
        "hit_ratio": totals.hit_ratio,
        "error_ratio": totals.error_ratio,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "saved_tokens": totals.saved_tokens,
        "cost_usd": totals.cost_usd_nanos / 1e9,
        "saved_usd": totals.saved_usd_nanos / 1e9,
        "caching_cost_usd": totals.caching_cost_usd_nanos / 1e9,
        "net_saved_usd": totals.net_saved_usd_nanos / 1e9,
    }


class TimeSavedShown(Schema):
    """How much longer callers would have waited without the cache."""

    #: Null when no model has a miss to measure against.
    seconds: float | None
    #: Hits that it is known for, of all hits.
    hits_known: int
    hits: int

    @classmethod
    def of(cls, saved: TimeSaved) -> TimeSavedShown:
        """Show it."""
        return cls(seconds=saved.seconds, hits_known=saved.hits_known, hits=saved.hits)


class Stats(Schema):
    """Figures of a period, and of the one before."""

    period: PeriodShown
    figures: Figures
    time_saved: TimeSavedShown
    previous_period: PeriodShown
    #: Null where sums of the period before are not kept any more.
    previous: Figures | None


class Point(Schema):
    """Figures of one bucket."""

    start: datetime
    figures: Figures


class Timeseries(Schema):
    """Figures over time, without a gap."""

    period: PeriodShown
    points: list[Point]

    @classmethod
    def of(cls, period: Period, series: Sequence[Totals]) -> Timeseries:
        """Show a series."""
        points = [
            Point(start=_time(start), figures=Figures.of(one)) for start, one in zip(period.starts, series, strict=True)
        ]
        return cls(period=PeriodShown.of(period), points=points)


class BreakdownRowShown(Schema):
    """Figures of one value; "" are requests that name none, (other) what a day had too many of."""

    value: str
    #: Its name where the value is an id.
    label: str
    figures: Figures


class BreakdownShown(Schema):
    """Figures by one dimension, most requests first."""

    period: PeriodShown
    by: str
    rows: list[BreakdownRowShown]
    #: How many values there are in all.
    values: int


class PercentilesShown(Schema):
    """How long requests took, in milliseconds."""

    requests: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, found: Percentiles) -> PercentilesShown:
        """Show percentiles."""
        p50, p95, p99 = (
            None if one is None else round(one / 1000, 3) for one in (found.p50_us, found.p95_us, found.p99_us)
        )
        return cls(requests=found.requests, p50_ms=p50, p95_ms=p95, p99_ms=p99)


class LatencyPoint(Schema):
    """Percentiles of one bucket."""

    start: datetime
    hit: PercentilesShown
    miss: PercentilesShown


class LatencyShown(Schema):
    """Percentiles of hits and misses: of the period, and over time."""

    period: PeriodShown
    hit: PercentilesShown
    miss: PercentilesShown
    points: list[LatencyPoint]

    @classmethod
    def of(cls, period: Period, found: Latency, series: Sequence[Latency]) -> LatencyShown:
        """Show percentiles."""
        points = [
            LatencyPoint(start=_time(start), hit=PercentilesShown.of(one.hit), miss=PercentilesShown.of(one.miss))
            for start, one in zip(period.starts, series, strict=True)
        ]
        return cls(
            period=PeriodShown.of(period),
            hit=PercentilesShown.of(found.hit),
            miss=PercentilesShown.of(found.miss),
            points=points,
        )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
