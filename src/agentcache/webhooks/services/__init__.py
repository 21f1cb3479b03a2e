"""Every write of webhooks."""

from __future__ import annotations

from agentcache.webhooks.services.emitting import DELIVER, emit
from agentcache.webhooks.services.endpoints import EndpointEdits, NewEndpoint, create_endpoint

__all__ = ["DELIVER", "EndpointEdits", "NewEndpoint", "create_endpoint", "emit"]
