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


@dataclass(frozen=True, slots=True)
class BarShown:
    """A limit as `quota_bar` takes it."""

    used: float
    limit: float
    label: str
    unit: str
    note: str

    @classmethod
    def of(cls, bar: Bar) -> BarShown:
        """Say whose limit it is, and what happens beyond it."""
        whose = {"key": "This key", "member": "Its member"}.get(bar.kind, "The team")
        scale = _NANOS if bar.measure == BUDGET else 1
        return cls(
            used=bar.used / scale,
            limit=bar.limit / scale,
            label=f"{whose}: {'provider cost' if bar.measure == BUDGET else 'requests'} this month",
            unit="usd" if bar.measure == BUDGET else "count",
            note="calls are refused beyond it" if bar.is_hard else "people are told beyond it",
        )


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """A key's last 30 days, and every limit that binds it, the fullest first."""

    totals: Totals
    bars: list[BarShown]

    @property
    def cost_usd(self) -> float:
        """What providers were paid, in dollars."""
        return self.totals.cost_usd_nanos / _NANOS

    @property
    def net_saved_usd(self) -> float:
        """What the cache saved, in dollars."""
        return self.totals.net_saved_usd_nanos / _NANOS


def figures_of(team: Team, row: ApiKey, now: datetime) -> KeyFigures:
    """Return the figures of a key."""
    totals = analytics.totals(team, last_days(DAYS, now), Filters(api_key=row.pk))
    binding = {(SubjectKind.TEAM.value, ""), (SubjectKind.KEY.value, row.pk)}
    if not row.is_shared and row.created_by_id is not None:
        binding.add((SubjectKind.MEMBER.value, str(row.created_by_id)))
    bars = [BarShown.of(bar) for bar in quotas.usage_of(team, now).bars if (bar.kind, bar.subject) in binding]
    return KeyFigures(totals, bars)


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
    }
