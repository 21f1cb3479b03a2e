"""The table of plans, from the one that the limits are enforced by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agentcache.design import formats
from agentcache.quotas.plans import PLANS, Plan

_UNLIMITED: Final = "Unlimited"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One limit, plan by plan."""

    label: str
    note: str
    #: Title of the plan, and its value.
    values: tuple[tuple[str, str], ...]


def plans() -> tuple[Plan, ...]:
    """Return the plans, in the order of the columns."""
    return tuple(PLANS.values())


def price(plan: Plan) -> str:
    """Return what a plan costs a month."""
    if plan.price_usd_per_month is None:
        return "Free, MIT licence"
    return f"${plan.price_usd_per_month:,}" if plan.price_usd_per_month else "$0"


def rows() -> list[PlanRow]:
    """Return the limits."""
    return [
        PlanRow(label, note, tuple((plan.title, show(plan)) for plan in plans())) for label, note, show in ROWS.values()
    ]


def _count(value: int | None) -> str:
    return _UNLIMITED if value is None else formats.number(value)


#: Member of a plan -> label, note, and how it is shown.
ROWS: Final[dict[str, tuple[str, str, Callable[[Plan], str]]]] = {
    "requests_per_month": ("Requests a month", "", lambda plan: _count(plan.requests_per_month)),
    "seats": ("Members", "people who belong to the team, and open invitations", lambda plan: _count(plan.seats)),
    "retention_days": ("Single requests kept", "figures go back as far; sums stay, for a later plan", lambda plan: f"{plan.retention_days} days"),
    "delivery_days": ("Webhook deliveries kept", "with every try", lambda plan: f"{plan.delivery_days} days"),
    "listeners": ("Watched sources", "pages and files whose changes invalidate answers", lambda plan: _count(plan.listeners)),
    "check_interval_minutes": (
        "Watched at most every", "", lambda plan: formats.span(plan.check_interval_minutes * 60),
    ),
}  # fmt: skip
