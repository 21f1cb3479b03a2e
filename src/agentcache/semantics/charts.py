"""Figures of semantic look-ups over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agentcache.design.charts import Chart, Series
from agentcache.semantics.queries import Figures

#: A day alone has too few judgements to say anything.
TRAILING_DAYS: Final = 7
#: With fewer, the interval is all there is to see.
JUDGED_MIN: Final = 10


def precision_chart(starts: Sequence[datetime], figures: Sequence[Figures], target: float | None) -> Chart:
    """Show the share of wrong hits with its interval; `figures` begin `TRAILING_DAYS` - 1 days before `starts`."""
    trailing = [Figures.total(figures[at : at + TRAILING_DAYS]) for at in range(len(starts))]
    told = [one if one.judged >= JUDGED_MIN else Figures() for one in trailing]
    intervals = [one.interval or (None, None) for one in told]
    series = [
        Series("Wrong, of those compared", [one.wrong_share for one in told], "error"),
        Series("At most", [high for _, high in intervals], "stale"),
        Series("At least", [low for low, _ in intervals], "2"),
    ]
    if target is not None:
        series.append(Series("Target", [target] * len(starts), "bypass"))
    return Chart(
        id="wrong-hits",
        title="Wrong hits",
        caption=f"Share of near questions whose stored answer was another one, over the {TRAILING_DAYS} days before each day, with "
        "its Wilson interval.",
        kind="lines",
        unit="percent",
        starts=starts,
        series=series if any(one.judged for one in told) else series[:3],
        bucket="per day, UTC",
        note=f"Two standard deviations to either side; days with fewer than {JUDGED_MIN} comparisons before them are left out.",
    )


def hits_chart(starts: Sequence[datetime], figures: Sequence[Figures], requests: Sequence[int]) -> Chart:
    """Show which share of requests was served by meaning, or could have been."""

    def share(numbers: Sequence[int]) -> list[float | None]:
        return [number / asked if asked else None for number, asked in zip(numbers, requests, strict=True)]

    return Chart(
        id="semantic-hits",
        title="Semantic hits",
        caption="Share of requests that were answered by an earlier near question, and that could have been.",
        kind="lines",
        unit="percent",
        starts=starts,
        series=[
            Series("Served", share([one.hits for one in figures]), "semantic"),
            Series("Served or shadowed", share([one.near for one in figures]), "coalesced"),
        ],
        bucket="per day, UTC",
        is_last_open=True,
    )
