"""Every read of webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q
from django.utils import timezone

from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.errors import DeliveryNotFound, EndpointNotFound
from agentcache.webhooks.models import Attempt, Delivery, DeliveryState, Endpoint, EndpointSecret

PAGE_ROWS = 50
_SUMMED_OVER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint as lists show one."""

    endpoint: Endpoint
    #: Of the last seven days.
    delivered: int
    failed: int
    waiting: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Some deliveries, newest first, and where the next page begins (empty at the end)."""

    deliveries: list[Delivery]
    next_cursor: str


def list_endpoints(team: Team) -> list[EndpointRow]:
    """Return a team's endpoints, oldest first, with what became of their deliveries of a week. Two queries."""
    since = timezone.now() - _SUMMED_OVER
    sums: dict[str, Any] = {
        row["endpoint_id"]: row
        for row in rows_of(team, Delivery)
        .filter(created_at__gte=since)
        .values("endpoint_id")
        .annotate(
            delivered=Count("pk", filter=Q(state=DeliveryState.DELIVERED)),
            failed=Count("pk", filter=Q(state=DeliveryState.FAILED)),
            waiting=Count("pk", filter=Q(state=DeliveryState.WAITING)),
            last_at=Max("created_at"),
        )
    }
    found = []
    for endpoint in rows_of(team, Endpoint).order_by("created_at", "pk"):
        row: dict[str, Any] = sums.get(endpoint.pk, {})
        delivered, failed, waiting = (int(row.get(name, 0)) for name in ("delivered", "failed", "waiting"))
        found.append(EndpointRow(endpoint, delivered, failed, waiting, row.get("last_at")))
    return found


def get_endpoint(team: Team, endpoint_id: str) -> Endpoint:
    """Return one endpoint of the team. Raises `EndpointNotFound`."""
    row = rows_of(team, Endpoint).filter(pk=endpoint_id).first()
    if row is None:
        raise EndpointNotFound(param="endpoint_id")
    return row


def former_secrets(endpoint: Endpoint) -> list[EndpointSecret]:
    """Return the replaced secrets that still sign, the one that ends last first; what they are stays sealed."""
    return list(EndpointSecret.objects.filter(endpoint=endpoint, ends_at__gt=timezone.now()).order_by("-ends_at"))


def page_of(
    team: Team,
    *,
    endpoint_id: str = "",
    state: str = "",
    event_type: str = "",
    cursor: str = "",
    rows: int = PAGE_ROWS,
) -> DeliveryPage:
    """Return one page of a team's deliveries with their messages; empty members do not narrow."""
    given = {"endpoint_id": endpoint_id, "state": state, "event_type": event_type}
    found = rows_of(team, Delivery).filter(**{name: value for name, value in given.items() if value})
    if cursor:
        found = found.filter(pk__lt=cursor)
    deliveries = list(found.select_related("message", "endpoint").order_by("-pk")[: rows + 1])
    return DeliveryPage(deliveries[:rows], deliveries[rows - 1].pk if len(deliveries) > rows else "")


def get_delivery(team: Team, delivery_id: str) -> Delivery:
    """Return one delivery of the team with its message and endpoint. Raises `DeliveryNotFound`."""
    row = rows_of(team, Delivery).select_related("message", "endpoint").filter(pk=delivery_id).first()
    if row is None:
        raise DeliveryNotFound(param="delivery_id")
    return row


def attempts_of(delivery: Delivery) -> list[Attempt]:
    """Return every try of a delivery, newest first."""
    return list(Attempt.objects.filter(delivery=delivery).order_by("-pk"))


def count_waiting() -> int:
    """Return how many deliveries of all teams wait for a try; for operators."""
    return Delivery.objects.filter(state=DeliveryState.WAITING).count()


def count_failing() -> int:
    """Return how many endpoints of all teams fail now; for operators."""
    return Endpoint.objects.filter(is_enabled=True, failures_in_row__gt=0).count()
