"""How far back usage goes: single events by the team's plan, sums by how fine they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agentcache.analytics.errors import BeyondRetention
from agentcache.analytics.periods import Period, Preset, day_of, day_start, preset_period
from agentcache.analytics.rollups import Grain
from agentcache.quotas.plans import Plan
from agentcache.quotas.queries import plan_of
from agentcache.teams.models import Team

#: How many days the sums of each span are kept. Sums of days and weeks are kept for good.
ROLLUP_DAYS: Final[Mapping[Grain, int]] = {Grain.FIVE_MINUTES: 3, Grain.HOUR: 400}
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the figures of a team may be asked for."""

    plan: Plan
    now: datetime

    def first_day(self, zone: str = "UTC") -> datetime | None:
        """Return where the first day begins that the plan shows, or None where it shows all."""
        days = self.plan.figures_days
        if days is None:
            return None
        start = day_start(day_of(self.now.timestamp(), zone) - timedelta(days=days), zone)
        return datetime.fromtimestamp(start, UTC)

    @property
    def words(self) -> str:
        """What the plan shows, for people; "" where it shows all."""
        days = self.plan.figures_days
        return "" if days is None else f"The plan {self.plan.title} shows the last {days} days."

    def refusal(self, period: Period) -> str:
        """Say why a period reaches back too far, or ""."""
        first = self.first_day(period.zone)
        if first is not None and period.start < first.timestamp():
            return self.words
        if not has_sums(period, self.now):
            return (
                f"Sums of hours are kept for {ROLLUP_DAYS[Grain.HOUR]} days. Further back there are whole days in UTC only: "
                f"choose that zone and more than 7 days."
            )
        return ""

    def check(self, period: Period) -> Period:
        """Return the period. Raises `BeyondRetention` where it reaches back too far."""
        if reason := self.refusal(period):
            raise BeyondRetention(reason, param="period" if period.preset is not None else "start")
        return period

    def longest(self, wanted: Preset) -> Preset:
        """Return the preset that is wanted, or the longest shorter one that the plan shows."""
        shorter = [preset for preset in _BY_LENGTH[_BY_LENGTH.index(wanted) :] if not self.refuses(preset)]
        return shorter[0] if shorter else Preset.HOUR

    def refuses(self, preset: Preset, zone: str = "UTC") -> str:
        """Say why a preset reaches back too far, or ""."""
        return self.refusal(preset_period(preset, zone, self.now))


_BY_LENGTH: Final = (Preset.QUARTER, Preset.MONTH, Preset.WEEK, Preset.DAY, Preset.HOUR)


def reach_of(team: Team, now: datetime | None = None) -> Reach:
    """Return how far back the figures of a team may be asked for."""
    return Reach(plan_of(team), now or datetime.now(UTC))


def has_sums(period: Period, now: datetime) -> bool:
    """Say whether every sum that a period is made of is still kept."""
    finest = min(period.stored_grain, *(grain for grain, _, _ in period.spans()))
    return finest not in ROLLUP_DAYS or period.start >= now.timestamp() - ROLLUP_DAYS[finest] * _DAY_SECONDS


def comparable(period: Period, now: datetime) -> Period | None:
    """Return the period before another one, or None where its sums are not kept any more."""
    before = period.previous()
    return before if has_sums(before, now) else None
