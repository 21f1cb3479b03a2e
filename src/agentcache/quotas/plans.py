"""The plans: what a team gets each calendar month (UTC), in one table that drives enforcement, pages and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PlanName(StrEnum):
    """Which plans there are."""

    SELF_HOSTED = "self_hosted"
    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan. None means unlimited."""

    name: PlanName
    title: str
    requests_per_month: int | None
    #: How long single usage events are kept.
    retention_days: int
    #: How long what webhooks were sent is kept, with every try.
    delivery_days: int
    #: People who belong to the team, and who are invited.
    seats: int | None
    #: Sources that are watched for changes.
    listeners: int | None
    #: Shortest time between two checks of one source.
    check_interval_minutes: int
    #: US dollars a month; None where there is nothing to pay.
    price_usd_per_month: int | None

    @property
    def figures_days(self) -> int | None:
        """How many days back figures may be asked for; None for as long as sums are kept."""
        # Whoever runs the server owns its database, and is shown all of it.
        return None if self.name is PlanName.SELF_HOSTED else self.retention_days


PLANS: Final[Mapping[PlanName, Plan]] = MappingProxyType({
    plan.name: plan
    for plan in (
        Plan(PlanName.SELF_HOSTED, "Self-hosted", None, 90, 90, None, None, 15, None),
        Plan(PlanName.FREE, "Free", 10_000, 7, 30, 3, 5, 24 * 60, 0),
        Plan(PlanName.PRO, "Pro", 1_000_000, 90, 90, 25, 100, 60, 99),
        Plan(PlanName.ENTERPRISE, "Enterprise", 10_000_000, 400, 90, None, 1_000, 15, 299),
    )
})  # fmt: skip
