"""What one key did lately, and how near it is to what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentcache.analytics import queries as analytics
from agentcache.analytics.periods import last_days
from agentcache.analytics.queries import Filters, Totals
from agentcache.quotas import queries as quotas
from agentcache.quotas.models import Limit, SubjectKind
from agentcache.quotas.queries import BUDGET, Bar
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.tenancy import rows_of

_NANOS = 10**9
#: How far back a key's page looks.
DAYS = 30
_WHOSE = {"key": "This key", "member": "Its member"}


@dataclass(frozen=True, slots=True)
class BarShown:
    """A limit as `quota_bar` takes it."""

    used: float
    limit: float
    label: str
    unit: str
    note: str
    #: Whether it is the one that will stop something first, or of none that stops, the fullest.
    is_binding: bool = False

    @classmethod
    def of(cls, bar: Bar, binding: Bar | None = None) -> BarShown:
        """Say whose limit it is, and what happens beyond it."""
        whose = _WHOSE.get(bar.kind, "The team")
        scale = _NANOS if bar.measure == BUDGET else 1
        return cls(
            used=bar.used / scale,
            limit=bar.limit / scale,
            label=f"{whose}: {'provider cost' if bar.measure == BUDGET else 'requests'} this month",
            unit="usd" if bar.measure == BUDGET else "count",
            note="calls are refused beyond it" if bar.is_hard else "people are told beyond it",
            is_binding=bar is binding,
        )


@dataclass(frozen=True, slots=True)
class RateShown:
    """How many requests a minute are let in."""

    label: str
    per_minute: int
    is_binding: bool


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """A key's last 30 days, and every limit that binds it: the fullest first, the narrowest rate first."""

    totals: Totals
    bars: list[BarShown]
    rates: list[RateShown]

    @property
    def cost_usd(self) -> float:
        """What providers were paid, in dollars."""
        return self.totals.cost_usd_nanos / _NANOS

    @property
    def refused_note(self) -> str:
        """How many calls a limit, a scope or a network turned away."""
        return f"and {self.totals.refused:,} refused" if self.totals.refused else "last 30 days"

    @property
    def net_saved_usd(self) -> float:
        """What the cache saved, in dollars."""
        return self.totals.net_saved_usd_nanos / _NANOS


def figures_of(team: Team, row: ApiKey, now: datetime) -> KeyFigures:
    """Return the figures of a key."""
    totals = analytics.totals(team, last_days(DAYS, now), Filters(api_key=row.pk))
    subjects = {(SubjectKind.TEAM.value, ""), (SubjectKind.KEY.value, row.pk)}
    if not row.is_shared and row.created_by_id is not None:
        subjects.add((SubjectKind.MEMBER.value, str(row.created_by_id)))
    bars = [bar for bar in quotas.usage_of(team, now).bars if (bar.kind, bar.subject) in subjects]
    nearest = next((bar for bar in bars if bar.is_hard), bars[0] if bars else None)
    rates = sorted(
        (limit.requests_per_minute, _WHOSE.get(limit.kind, "The team"))
        for limit in quotas.limits_of_team(team)
        if (limit.kind, limit.subject) in subjects and limit.requests_per_minute is not None
    )
    return KeyFigures(
        totals,
        [BarShown.of(bar, nearest) for bar in bars],
        [RateShown(whose, rate, is_binding=place == 0) for place, (rate, whose) in enumerate(rates)],
    )


def limit_of(row: ApiKey) -> dict[str, object]:
    """Return a key's own limit as the form of limits takes it; empty without one."""
    limit = rows_of(row.team, Limit).filter(kind=SubjectKind.KEY, subject=row.pk).first()
    if limit is None:
        return {}
    budget = limit.budget_usd_nanos_per_month
    return {
        "requests_per_month": limit.requests_per_month,
        "requests_per_minute": limit.requests_per_minute,
        "budget_usd": None if budget is None else budget / _NANOS,
        "is_hard": limit.is_hard,
        "allows_unknown_price": limit.allows_unknown_price,
    }
