"""Near questions for tests, as the gateway writes them down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agentcache.engine.entries import Tenant
from agentcache.gateway.ports import SemanticEvent
from agentcache.gateway.semantic.spool import seal_texts
from agentcache.kit.ids import new_id
from agentcache.semantics import services
from agentcache.teams.models import Team
from agentcache.teams.secrets import current_secrets

ENTRY_KEY = "ab" * 32


def near_event(
    team: Team,
    kind: str = "hit",
    *,
    asked: str = "How do I reset my password?",
    matched: str = "How can I reset the password?",
    at: datetime | None = None,
    **fields: Any,
) -> SemanticEvent:
    """Return an event; a hit with a score above its threshold unless `fields` say otherwise."""
    event_id = new_id()
    at = at or datetime.now(UTC)
    given = {
        "namespace": "default", "request_id": new_id(), "entry_key": ENTRY_KEY, "cosine": 0.94, "score": 0.97,
        "threshold": 0.9, "verifier": "cosine", "saved_usd_nanos": 2_000_000, "dialect": "openai", "model": "gpt-5-mini",
        "reasons": [("overlap", 0.8, 1.2), ("rarest_unmatched", 0.1, -0.2)], "features": {"cosine": 0.94},
        **fields,
    }  # fmt: skip
    return SemanticEvent(
        id=event_id,
        at_ms=int(at.timestamp() * 1000),
        tenant_id=team.pk,
        kind=kind,
        sealed=seal_texts(tenant_of(team), event_id, asked, matched),
        **given,
    )


def take(events: Sequence[SemanticEvent]) -> int:
    """Take events into the database, as the job does."""
    return services.take_events(current_secrets(), events)


def tenant_of(team: Team) -> Tenant:
    """Return the data plane's view of a team."""
    return current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)
