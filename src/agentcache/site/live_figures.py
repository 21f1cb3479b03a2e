"""What this server has answered and saved, for everybody to see: sums over all teams, with the method beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import Error as DatabaseError

from agentcache.analytics import queries
from agentcache.analytics.definitions import BY_NAME
from agentcache.analytics.periods import UTC_ZONE, Preset, preset_period
from agentcache.analytics.queries import Latency, Totals
from agentcache.design import formats
from agentcache.settings import Settings
from agentcache.site.remembered import Remembered

#: However many look at the start page, the database is asked this often.
COUNTED_EVERY_SECONDS: Final = 60.0
#: As long as there is nothing to show, there is little to count, and somebody waits for the first figure.
NOTHING_COUNTED_EVERY_SECONDS: Final = 5.0
#: Sums of fewer teams would tell strangers what one of them does.
TEAMS_MIN: Final = 3
_LATENCY: Final = "latency_p50"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it counts."""

    label: str
    value: str
    note: str
    definition: str


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """The numbers, or why there are none."""

    period: str
    figures: tuple[Figure, ...] = ()
    as_of: datetime | None = None
    #: Requests known to be missing from the figures.
    lost: int = 0
    is_hidden: bool = False
    is_unavailable: bool = False


_figures: Final[Remembered[LiveFigures]] = Remembered(
    lambda shown: COUNTED_EVERY_SECONDS if shown.figures else NOTHING_COUNTED_EVERY_SECONDS
)


def live_figures(settings: Settings) -> LiveFigures:
    """Return the figures, counted at most `COUNTED_EVERY_SECONDS` ago; none while the database is away."""
    period = Preset.MONTH.label
    if not settings.public_figures:
        return LiveFigures(period, is_hidden=True)
    try:
        return _figures.get(settings, lambda: count(settings, datetime.now(UTC)))
    except DatabaseError:
        return LiveFigures(period, is_unavailable=True)


def forget() -> None:
    """Have the figures counted anew."""
    _figures.forget()


def count(settings: Settings, now: datetime) -> LiveFigures:
    """Count the figures of the last 30 days."""
    period = preset_period(Preset.MONTH, UTC_ZONE, now)
    totals = queries.installation_totals(period)
    as_of = datetime.fromtimestamp(queries.data_as_of(settings.data_dir, now.timestamp()), UTC)
    is_seen_by_others = not (settings.is_local and settings.public_url is None)
    if not totals.requests or (is_seen_by_others and queries.active_teams(period) < TEAMS_MIN):
        return LiveFigures(Preset.MONTH.label, as_of=as_of)
    figures = _shown(totals, queries.installation_latency(period))
    lost = queries.lost_events(datetime.fromtimestamp(period.start, UTC))
    return LiveFigures(Preset.MONTH.label, figures, as_of, lost)


def _shown(totals: Totals, latency: Latency) -> tuple[Figure, ...]:
    weak = ", too few to say" if totals.is_hit_ratio_weak else ""
    kept = totals.hits + totals.coalesced
    return (
        _figure("requests", formats.number(totals.requests), f"{formats.number(kept)} without a provider call"),
        _figure("hit_ratio", formats.number(totals.hit_ratio, "percent"), f"of {formats.number(totals.lookups)} look-ups{weak}"),
        _figure("net_saved_usd", formats.usd(totals.net_saved_usd_nanos / 1e9), f"{formats.usd(totals.cost_usd_nanos / 1e9)} paid"),
        Figure(
            "Median answer time", _milliseconds(latency.hit.p50_us), f"of a hit; {_milliseconds(latency.miss.p50_us)} of a miss",
            BY_NAME[_LATENCY].text,
        ),
    )  # fmt: skip


def _figure(name: str, value: str, note: str) -> Figure:
    metric = BY_NAME[name]
    return Figure(metric.title, value, note, metric.text)


def _milliseconds(microseconds: float | None) -> str:
    return formats.duration(None if microseconds is None else microseconds / 1e6)
