"""What can be wrong with webhooks."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, NotFound


class EndpointNotFound(NotFound):
    """The team has no such webhook endpoint."""

    code = "webhook_endpoint_not_found"


class DeliveryNotFound(NotFound):
    """The team has no such delivery."""

    code = "webhook_delivery_not_found"


class InvalidEndpoint(BadRequest):
    """A webhook endpoint needs a public https URL and at least one type of event."""

    code = "invalid_webhook_endpoint"


class UnknownEventType(BadRequest):
    """There is no such type of event."""

    code = "unknown_event_type"


class TooManyEndpoints(BadRequest):
    """A team may have 20 webhook endpoints. Delete one that is not used."""

    code = "too_many_webhook_endpoints"
    status = 409


class EndpointIsOff(BadRequest):
    """This endpoint is switched off. Switch it on first."""

    code = "webhook_endpoint_off"
    status = 409


class InvalidRange(BadRequest):
    """A range begins before it ends."""

    code = "invalid_range"
