"""Writing down what endpoints are to be told, in the transaction of its cause."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from agentcache.jobs import services as jobs
from agentcache.kit.ids import new_id
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.event_types import BODY_BYTES_MAX, EVENT_TYPES
from agentcache.webhooks.models import Delivery, Endpoint, Message

#: Job: try the delivery `payload["delivery_id"]`, if it is still in its round `payload["round"]`. Its lane is the endpoint.
DELIVER = "webhooks.deliver"
#: Items that a list keeps and characters that a text keeps: the first pair that makes the body small enough.
_CUTS = ((50, 2_000), (20, 200), (4, 64))
_MEMBERS_MAX = 20


def emit(team_id: str, event_type: str, data: Mapping[str, Any]) -> str | None:
    """Tell every endpoint of the team that asked for this type of event; return the message's id, None when none asked.

    Has to be called inside the transaction of what happened, so that one is never without the other. `data` has the members
    of the type's model in `event_types`; raises pydantic's `ValidationError` for others, and `KeyError` for a type that
    there is not.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event is written in the transaction of its cause")
    checked = EVENT_TYPES[event_type].model.model_validate(data).model_dump(mode="json")
    team = Team(pk=team_id)
    endpoints = [row for row in rows_of(team, Endpoint).filter(is_enabled=True) if event_type in row.event_types]
    return write_message(team, event_type, checked, endpoints) if endpoints else None


def write_message(
    team: Team, event_type: str, data: Mapping[str, Any], endpoints: Iterable[Endpoint], *, is_test: bool = False
) -> str:
    """Keep a message and a delivery with its job for each of these endpoints; return the message's id."""
    now = timezone.now()
    body = _body(event_type, now, data)
    message = Message(id=new_id("msg_"), team_id=team.pk, event_type=event_type, body=body, is_test=is_test)
    message.created_at = now
    message.save(force_insert=True)
    deliveries = [
        Delivery(
            team_id=team.pk, message=message, endpoint=endpoint, event_type=event_type, created_at=now, next_try_at=now
        )
        for endpoint in endpoints
    ]
    Delivery.objects.bulk_create(deliveries)
    for delivery in deliveries:
        enqueue(delivery, now)
    return message.pk


def enqueue(delivery: Delivery, due_at: datetime) -> None:
    """Keep the job that delivers."""
    payload: dict[str, object] = {"delivery_id": delivery.pk, "round": delivery.redeliveries}
    jobs.enqueue(delivery.job_id, DELIVER, payload, due_at, lane=f"webhooks:{delivery.endpoint_id}")


def _body(event_type: str, at: datetime, data: Mapping[str, Any]) -> str:
    head = {"type": event_type, "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    for items, chars in _CUTS:
        told = {**head, "data": _cut(data, items, chars)}
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        if len(body.encode()) <= BODY_BYTES_MAX:
            return body
    raise ValueError(f"an event of type {event_type} is larger than {BODY_BYTES_MAX} bytes")


def _cut(value: Any, items: int, chars: int) -> Any:
    if isinstance(value, str):
        return value[:chars]
    if isinstance(value, list):
        return [_cut(one, items, chars) for one in value[:items]]
    if isinstance(value, Mapping):
        return {str(name)[:chars]: _cut(one, items, chars) for name, one in list(value.items())[:_MEMBERS_MAX]}
    return value
