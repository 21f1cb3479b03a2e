"""Sending again: a test, one delivery, or a range of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.jobs import services as jobs
from agentcache.tasks import services as tasks
from agentcache.tasks.models import Task
from agentcache.tasks.services import Progress
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.errors import DeliveryNotFound, EndpointIsOff, InvalidRange, UnknownEventType
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import Delivery, DeliveryState, Endpoint
from agentcache.webhooks.services.emitting import enqueue, write_message
from agentcache.webhooks.services.endpoints import locked_endpoint, note

#: Task: send a range of deliveries again.
REDELIVER = "webhooks.redeliver"
#: Redelivered in one transaction.
BATCH_ROWS = 50


@dataclass(frozen=True, slots=True)
class Range:
    """Which deliveries of an endpoint: those made from `since` and before `until` that are in this state."""

    endpoint_id: str
    since: datetime
    until: datetime
    state: DeliveryState = DeliveryState.FAILED


def send_test(team: Team, endpoint_id: str, event_type: str, *, actor: Actor) -> Delivery:
    """Send the sample of a type to one endpoint, once. Raises `EndpointNotFound`, `EndpointIsOff`, `UnknownEventType`."""
    if event_type not in EVENT_TYPES:
        raise UnknownEventType(f"There is no event type {event_type[:64]!r}.", param="event_type")
    with transaction.atomic():
        endpoint = _endpoint_that_is_on(team, endpoint_id)
        message_id = write_message(team, event_type, EVENT_TYPES[event_type].sample, [endpoint], is_test=True)
        note("webhook_endpoint.tested", endpoint, actor, after={"event_type": event_type})
        return rows_of(team, Delivery).get(message_id=message_id)


def redeliver(team: Team, delivery_id: str, *, actor: Actor) -> Delivery:
    """Send one delivery again, at once; one that waits is tried now. Raises `DeliveryNotFound`, `EndpointIsOff`."""
    with transaction.atomic():
        found = rows_of(team, Delivery).filter(pk=delivery_id).first()
        if found is None:
            raise DeliveryNotFound(param="delivery_id")
        endpoint = _endpoint_that_is_on(team, found.endpoint_id)
        row = rows_of(team, Delivery).select_for_update().get(pk=found.pk)
        send_again(row, timezone.now())
        note("webhook_delivery.redelivered", endpoint, actor, after={"delivery_id": row.pk})
    return row


def start_redelivery(team: Team, wanted: Range, *, actor: Actor) -> Task:
    """Start the task that sends a range again. Raises `EndpointNotFound`, `EndpointIsOff`, `InvalidRange`."""
    if wanted.since >= wanted.until:
        raise InvalidRange(param="until")
    with transaction.atomic():
        endpoint = _endpoint_that_is_on(team, wanted.endpoint_id)
        found = in_range(team, wanted)
        newest = found.order_by("-pk").values_list("pk", flat=True).first() or ""
        payload = {
            "endpoint_id": wanted.endpoint_id,
            "since": wanted.since.isoformat(),
            "until": wanted.until.isoformat(),
            "state": wanted.state.value,
            "upto": newest,
        }
        title = f"Send webhooks to {endpoint.url} again"
        return tasks.start(team, REDELIVER, title, payload, total=found.count(), actor=actor)


def redeliver_step(team_id: str, payload: Mapping[str, Any], cursor: Mapping[str, Any]) -> Progress:
    """Do one step of that task, in the caller's transaction."""
    wanted = Range(
        str(payload["endpoint_id"]),
        datetime.fromisoformat(payload["since"]),
        datetime.fromisoformat(payload["until"]),
        DeliveryState(payload["state"]),
    )
    team = Team.objects.get(pk=team_id)
    done, last = redeliver_batch(team, wanted, str(cursor.get("after", "")), str(payload["upto"]))
    if not done:
        return Progress()
    return Progress(done=done, cursor={"after": last}, lines=[f"{done} sent again."])


def redeliver_batch(team: Team, wanted: Range, after_id: str, upto_id: str) -> tuple[int, str]:
    """Send the next few deliveries of a range again, in the caller's transaction.

    Returns how many that were and the id of the last, which is the next call's `after_id`; "" at the end. What became a
    delivery after the range was chosen (`upto_id`) is not in it. Raises `EndpointNotFound`, `EndpointIsOff`.
    """
    _endpoint_that_is_on(team, wanted.endpoint_id)
    found = in_range(team, wanted).filter(pk__gt=after_id, pk__lte=upto_id).order_by("pk")
    rows = list(found.select_for_update()[:BATCH_ROWS])
    now = timezone.now()
    for row in rows:
        send_again(row, now)
    return len(rows), rows[-1].pk if rows else ""


def in_range(team: Team, wanted: Range) -> QuerySet[Delivery]:
    """Return the deliveries of a range."""
    return rows_of(team, Delivery).filter(
        endpoint_id=wanted.endpoint_id,
        state=wanted.state,
        created_at__gte=wanted.since,
        created_at__lt=wanted.until,
    )


def send_again(row: Delivery, now: datetime) -> None:
    """Have a delivery, locked by the caller, tried at once, with all its tries anew. The message keeps its id."""
    if row.state == DeliveryState.WAITING:
        if jobs.retry(row.job_id):
            row.next_try_at = now
            row.save(update_fields=["next_try_at"])
        return
    row.redeliveries += 1
    row.state, row.ended_because, row.ended_at = DeliveryState.WAITING, "", None
    row.tries, row.next_try_at = 0, now
    row.save()
    enqueue(row, now)


def _endpoint_that_is_on(team: Team, endpoint_id: str) -> Endpoint:
    endpoint = locked_endpoint(team, endpoint_id)
    if not endpoint.is_enabled:
        raise EndpointIsOff
    return endpoint
