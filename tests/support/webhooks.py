"""Webhook endpoints for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentcache.audit.services import Actor
from agentcache.teams.models import Team
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import Endpoint
from agentcache.webhooks.services import NewEndpoint


def make_endpoint(
    team: Team,
    url: str = "https://hooks.example.com/in",
    event_types: Sequence[str] = tuple(EVENT_TYPES),
    **members: Any,
) -> Endpoint:
    """Make an endpoint that asks for these types of events; every type unless told otherwise."""
    new = NewEndpoint(url, event_types, **members)
    return services.create_endpoint(current_secrets(), team, new, actor=Actor.system()).row


def sample(event_type: str) -> dict[str, object]:
    """Return the sample of a type."""
    return dict(EVENT_TYPES[event_type].sample)
