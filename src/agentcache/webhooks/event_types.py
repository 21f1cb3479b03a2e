"""What webhooks tell: each type of event, with a sample of its `data`; the members are in `event_data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agentcache.webhooks.event_data import EventData

#: A body stays below this, as Standard Webhooks asks: what is larger is to be fetched by its id.
BODY_BYTES_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    name: str
    #: `data` as a receiver may see it.
    sample: Mapping[str, Any]

    @property
    def model(self) -> type[EventData]:
        """Return what its `data` has to fit."""
        # To load Pydantic takes a tenth of a second, which a job worker that emits nothing does without.
        from agentcache.webhooks.event_data import MODELS

        return MODELS[self.name]

    @property
    def description(self) -> str:
        """Return what it tells, in a sentence or two."""
        return " ".join((self.model.__doc__ or "").split())

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of `data`."""
        return self.model.model_json_schema()


def _table(*types: EventType) -> Mapping[str, EventType]:
    return MappingProxyType({one.name: one for one in types})


_AT: Final = "2026-01-31T09:30:00Z"

EVENT_TYPES: Final = _table(
    EventType(
        "cache.invalidated",
        {
            "invalidated": 42,
            "namespaces": ["prod"],
            "criteria": {"tags": ["pricing"], "older_than": 3600},
            "soft": False,
            "reason": "New price list",
            "cause": "api",
            "estimated_cost_impact_usd": "0.84",
            "job_id": None,
        },
    ),
    EventType(
        "listener.changed",
        {
            "listener_id": "01935a1d2c3b7f00a1b2c3d4e5f60718",
            "url": "https://example.com/pricing",
            "checked_at": _AT,
            "namespace": "prod",
            "tags": ["pricing"],
            "summary": "- Pro: $20 a month\n+ Pro: $25 a month",
            "invalidated": 42,
        },
    ),
    EventType(
        "quota.threshold",
        {
            "kind": "team",
            "subject": "",
            "name": "Blue Whales",
            "measure": "requests",
            "percent": 80,
            "used": "8000",
            "limit": "10000",
            "is_hard": True,
            "resets_at": "2026-02-01T00:00:00Z",
        },
    ),
    EventType(
        "prewarm.finished",
        {
            "job_id": "01935a1d2c3b7f00a1b2c3d4e5f60718",
            "state": "done",
            "requested": 500,
            "warmed": 420,
            "skipped": 78,
            "failed": 2,
            "cost_usd": "1.37",
        },
    ),
    EventType(
        "cache.hit",
        {
            "request_id": "01935a1d2c3b7f00a1b2c3d4e5f60718",
            "at": _AT,
            "namespace": "prod",
            "provider": "openai",
            "model": "gpt-4o-mini",
            "outcome": "exact",
            "cost_avoided_usd": "0.0021",
        },
    ),
    EventType(
        "semantic.quarantined",
        {
            "entry_key": "5f1c" * 16,
            "namespace": "support",
            "model": "gpt-4o-mini",
            "reason": "reported",
            "prompts": None,
            "diversity": None,
            "by": "ada@example.com",
        },
    ),
    EventType(
        "job.finished",
        {
            "job_id": "01935a1d2c3b7f00a1b2c3d4e5f60718",
            "kind": "webhooks.redeliver",
            "state": "done",
            "done": 120,
            "total": 120,
        },
    ),
)
