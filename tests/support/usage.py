"""Usage for tests of figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.test import Client

from agentcache.gateway import ports
from agentcache.kit.ids import new_id
from agentcache.teams.models import Membership, Team


def usage_event(team: Team, *, at: datetime | None = None, **members: Any) -> ports.UsageEvent:
    """Return one event of a team, now unless said otherwise."""
    at = at or datetime.now(UTC)
    known = {
        "id": new_id(), "at_ms": int(at.timestamp() * 1000), "tenant_id": team.pk, "api_key_id": "key",
        "dialect": "openai", "endpoint": "chat.completions", "model": "gpt-5-mini", "namespace": "default",
        "outcome": "exact", "status": 200,
    }  # fmt: skip
    return ports.UsageEvent(**{**known, **members})


def browser_of(member: Membership) -> Client:
    """Return a client that is signed in as a member."""
    client = Client(headers={"host": "127.0.0.1:8787"})
    client.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return client
