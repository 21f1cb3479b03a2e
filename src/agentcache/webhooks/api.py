"""The JSON API of webhooks: event types, endpoints, deliveries; under /api/webhooks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from ninja import Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from agentcache.audit.services import Actor
from agentcache.tasks.api import TaskShown
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.api.schemas import Given
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import queries, services
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import Delivery, DeliveryState, Endpoint
from agentcache.webhooks.services import EndpointEdits, EndpointWithSecret, NewEndpoint, Range

router = Router(tags=["Webhooks"])

_READ = TeamAuth(Permission.WEBHOOKS_READ)
_MANAGE = TeamAuth(Permission.WEBHOOKS_MANAGE)
#: What shows a secret, or aims what a team's data is sent to.
_MANAGE_FRESH = TeamAuth(Permission.WEBHOOKS_MANAGE, fresh=True)


class NewEndpointGiven(Given):
    """An endpoint to be made."""

    url: str
    event_types: list[str]
    description: str = ""
    hits_per_mille: int = 0
    hits_namespace: str = ""
    #: Whether messages carry an Ed25519 signature (v1a) beside that by the secret.
    signs_with_key: bool = False


class EndpointEditsGiven(Given):
    """What is to be changed; what is left out stays."""

    url: str | None = None
    event_types: list[str] | None = None
    description: str | None = None
    hits_per_mille: int | None = None
    hits_namespace: str | None = None
    signs_with_key: bool | None = None
    is_enabled: bool | None = None


class Rotation(Given):
    """How long the former secret signs along; 0 ends every former one at once."""

    overlap_hours: float = 24


class TestGiven(Given):
    """Which type's sample to send."""

    event_type: str


class RangeGiven(Given):
    """Which deliveries to send again: those made in this time that are in this state."""

    since: AwareDatetime
    until: AwareDatetime
    state: Literal["failed", "delivered"] = "failed"


class DeliveryQuery(PageAsked):
    """Which deliveries, and which page of them; what is left out does not narrow."""

    endpoint_id: str = ""
    state: DeliveryState | None = None
    event_type: str = ""


class EventTypeShown(Schema):
    """A type of event, with the JSON schema of its `data` and a sample."""

    name: str
    description: str
    #: `schema` in JSON.
    data_schema: dict[str, Any] = Field(serialization_alias="schema")
    sample: dict[str, Any]


class EventTypesShown(Schema):
    """Every type of event there is."""

    event_types: list[EventTypeShown]


class EndpointShown(Schema):
    """An endpoint; its secret is never shown again."""

    id: str
    url: str
    description: str
    event_types: list[str]
    #: Of a thousand hits, how many `cache.hit` tells of, and in which namespace (empty for all).
    hits_per_mille: int
    hits_namespace: str
    signs_with_key: bool
    #: `whpk_` and base64, the present one first; empty unless it signs with a key.
    public_keys: list[str]
    is_enabled: bool
    #: Empty while it is on; `person`, `failures` or `gone`.
    disabled_because: str
    disabled_at: datetime | None
    failures_in_row: int
    failing_since: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: Endpoint) -> EndpointShown:
        """Show one."""
        keys = services.public_keys(current_secrets(), row)
        same = {name: getattr(row, name) for name in cls.model_fields if name != "public_keys"}
        return cls(public_keys=keys, **same)


class EndpointWithSecretShown(Schema):
    """An endpoint with its signing secret, which is shown this once."""

    secret: str
    endpoint: EndpointShown

    @classmethod
    def of(cls, made: EndpointWithSecret) -> EndpointWithSecretShown:
        """Show one."""
        return cls(secret=made.secret, endpoint=EndpointShown.of(made.row))


class EndpointsShown(Schema):
    """All endpoints of a team, oldest first."""

    endpoints: list[EndpointShown]


class DeliveryShown(Schema):
    """One message for one endpoint, and what became of it."""

    id: str
    #: The `webhook-id`, the same at every try.
    message_id: str
    endpoint_id: str
    event_type: str
    is_test: bool
    #: `waiting`, `delivered` or `failed`.
    state: str
    #: Why it failed: `tries`, `gone`, `off` or `lost`; empty otherwise.
    ended_because: str
    tries: int
    redeliveries: int
    last_status: int | None
    created_at: datetime
    next_try_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Delivery) -> DeliveryShown:
        """Show one."""
        named = {name: getattr(row, name) for name in cls.model_fields if name != "is_test"}
        return cls(is_test=row.message.is_test, **named)


class DeliveriesShown(Schema):
    """A page of deliveries, newest first; `cursor` continues it and is empty at the end."""

    deliveries: list[DeliveryShown]
    cursor: str


class AttemptShown(Schema):
    """One try, and what came back."""

    at: datetime
    duration_ms: int
    #: Null without an answer; then `failure` says so.
    status: int | None
    failure: str
    #: The first 1,024 characters of the answer.
    response: str
    request_headers: dict[str, str]


class DeliveryWithAttempts(DeliveryShown):
    """A delivery with what was sent and every try, newest first."""

    #: The very text that was sent.
    body: str
    attempts: list[AttemptShown]


@router.get("/event-types", auth=_READ, response=EventTypesShown, by_alias=True, operation_id="webhooks.listEventTypes")
def list_event_types(request: TeamRequest) -> EventTypesShown:
    """Return every type of event with its schema and a sample."""
    return EventTypesShown(
        event_types=[
            EventTypeShown(name=one.name, description=one.description, data_schema=one.schema, sample=dict(one.sample))
            for one in EVENT_TYPES.values()
        ]
    )


@router.get("/endpoints", auth=_READ, response=EndpointsShown, operation_id="webhooks.listEndpoints")
def list_endpoints(request: TeamRequest) -> EndpointsShown:
    """Return the team's endpoints."""
    rows = queries.list_endpoints(request.team_context.team)
    return EndpointsShown(endpoints=[EndpointShown.of(row.endpoint) for row in rows])


@router.post(
    "/endpoints",
    auth=_MANAGE_FRESH,
    response={201: EndpointWithSecretShown},
    operation_id="webhooks.createEndpoint",
)
def create_endpoint(request: TeamRequest, body: NewEndpointGiven) -> Status[EndpointWithSecretShown]:
    """Make an endpoint; its secret is shown this once."""
    made = services.create_endpoint(
        current_secrets(), request.team_context.team, NewEndpoint(**body.model_dump()), actor=Actor.of(request)
    )
    return Status(201, EndpointWithSecretShown.of(made))


@router.get("/endpoints/{endpoint_id}", auth=_READ, response=EndpointShown, operation_id="webhooks.showEndpoint")
def show_endpoint(request: TeamRequest, endpoint_id: str) -> EndpointShown:
    """Return one endpoint."""
    return EndpointShown.of(queries.get_endpoint(request.team_context.team, endpoint_id))


@router.patch(
    "/endpoints/{endpoint_id}", auth=_MANAGE_FRESH, response=EndpointShown, operation_id="webhooks.changeEndpoint"
)
def change_endpoint(request: TeamRequest, endpoint_id: str, body: EndpointEditsGiven) -> EndpointShown:
    """Change an endpoint, or switch it on or off. Switching it off gives up what waits for it."""
    edits = EndpointEdits(**body.model_dump())
    row = services.change_endpoint(request.team_context.team, endpoint_id, edits, actor=Actor.of(request))
    return EndpointShown.of(row)


@router.delete("/endpoints/{endpoint_id}", auth=_MANAGE, response={204: None}, operation_id="webhooks.deleteEndpoint")
def delete_endpoint(request: TeamRequest, endpoint_id: str) -> Status[None]:
    """Delete an endpoint with its deliveries; what waits for it is never sent."""
    services.delete_endpoint(request.team_context.team, endpoint_id, actor=Actor.of(request))
    return Status(204, None)


@router.post(
    "/endpoints/{endpoint_id}/rotate",
    auth=_MANAGE_FRESH,
    response=EndpointWithSecretShown,
    operation_id="webhooks.rotateSecret",
)
def rotate_secret(request: TeamRequest, endpoint_id: str, body: Rotation) -> EndpointWithSecretShown:
    """Sign with a new secret; the former one signs along for the overlap."""
    overlap = timedelta(hours=min(max(body.overlap_hours, -1.0), 1e5))
    made = services.rotate_secret(
        current_secrets(), request.team_context.team, endpoint_id, overlap=overlap, actor=Actor.of(request)
    )
    return EndpointWithSecretShown.of(made)


@router.post(
    "/endpoints/{endpoint_id}/test", auth=_MANAGE, response={202: DeliveryShown}, operation_id="webhooks.sendTest"
)
def send_test(request: TeamRequest, endpoint_id: str, body: TestGiven) -> Status[DeliveryShown]:
    """Send a type's sample to this endpoint, once."""
    row = services.send_test(request.team_context.team, endpoint_id, body.event_type, actor=Actor.of(request))
    return Status(202, DeliveryShown.of(row))


@router.post(
    "/endpoints/{endpoint_id}/redeliver",
    auth=_MANAGE,
    response={202: TaskShown},
    operation_id="webhooks.redeliverRange",
)
def redeliver_range(request: TeamRequest, endpoint_id: str, body: RangeGiven) -> Status[TaskShown]:
    """Send a range of deliveries again, as a job."""
    wanted = Range(endpoint_id, body.since, body.until, DeliveryState(body.state))
    task = services.start_redelivery(request.team_context.team, wanted, actor=Actor.of(request))
    return Status(202, TaskShown.of(task))


@router.get("/deliveries", auth=_READ, response=DeliveriesShown, operation_id="webhooks.listDeliveries")
def list_deliveries(request: TeamRequest, query: Query[DeliveryQuery]) -> DeliveriesShown:
    """Return the team's deliveries, newest first."""
    page = queries.page_of(
        request.team_context.team,
        endpoint_id=query.endpoint_id,
        state="" if query.state is None else query.state.value,
        event_type=query.event_type,
        cursor=query.cursor,
        rows=query.limit,
    )
    return DeliveriesShown(deliveries=[DeliveryShown.of(row) for row in page.deliveries], cursor=page.next_cursor)


@router.get(
    "/deliveries/{delivery_id}", auth=_READ, response=DeliveryWithAttempts, operation_id="webhooks.showDelivery"
)
def show_delivery(request: TeamRequest, delivery_id: str) -> DeliveryWithAttempts:
    """Return one delivery with what was sent and every try."""
    row = queries.get_delivery(request.team_context.team, delivery_id)
    attempts = [
        AttemptShown(**{name: getattr(attempt, name) for name in AttemptShown.model_fields})
        for attempt in queries.attempts_of(row)
    ]
    return DeliveryWithAttempts(**DeliveryShown.of(row).model_dump(), body=row.message.body, attempts=attempts)


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    auth=_MANAGE,
    response={202: DeliveryShown},
    operation_id="webhooks.redeliver",
)
def redeliver(request: TeamRequest, delivery_id: str) -> Status[DeliveryShown]:
    """Send one delivery again, with all its tries anew; one that waits is tried now."""
    row = services.redeliver(request.team_context.team, delivery_id, actor=Actor.of(request))
    return Status(202, DeliveryShown.of(row))
