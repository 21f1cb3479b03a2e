"""What webhooks tell: each type of event with the members of its `data`, as a model that makes its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

#: A body stays below this, as Standard Webhooks asks: what is larger is to be fetched by its id.
BODY_BYTES_MAX: Final = 20_000


class _EventData(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CacheInvalidated(_EventData):
    """Entries were invalidated: by a call, on a page, by the command line or because a watched source changed."""

    invalidated: int = Field(ge=0, description="Entries that no longer answer, or are marked stale.")
    namespaces: list[str] = Field(description="Where they were.")
    criteria: dict[str, Any] = Field(description="What was asked for, as in the call: pattern, tags, url and so on.")
    soft: bool = Field(default=False, description="Whether they are marked stale rather than removed.")
    reason: str = Field(default="", description="What the caller said.")
    cause: Literal["api", "page", "command", "listener"] = Field(default="api", description="Who asked for it.")
    estimated_cost_impact_usd: str | None = Field(
        default=None, description="What answering again would cost, decimal US dollars; null when it cannot be told."
    )
    job_id: str | None = Field(default=None, description="The job that did it, for large ones.")


class ListenerChanged(_EventData):
    """A watched source changed."""

    listener_id: str = Field(description="Which listener saw it.")
    url: str = Field(description="The source.")
    checked_at: datetime = Field(description="When it was seen.")
    namespace: str | None = Field(default=None, description="What the listener is bound to.")
    tags: list[str] = Field(default_factory=list, description="What the listener is bound to.")
    summary: str = Field(default="", description="The beginning of the readable difference.")
    invalidated: int = Field(default=0, ge=0, description="Entries invalidated for it.")


class QuotaThreshold(_EventData):
    """A limit's use passed 50, 80, 90 or 100 percent; once for each in a month."""

    kind: Literal["team", "member", "key", "agent"] = Field(description="Whom the limit binds.")
    subject: str = Field(description="Id of the member's user or of the key, name of the agent, empty for the team.")
    name: str = Field(description="The subject's name.")
    measure: Literal["requests", "budget"] = Field(description="What is counted.")
    percent: Literal[50, 80, 90, 100] = Field(description="The threshold.")
    used: str = Field(description="Requests as a whole number, or decimal US dollars.")
    limit: str = Field(description="In the same unit.")
    is_hard: bool = Field(description="Whether calls are refused at 100 percent.")
    resets_at: datetime = Field(description="When counting begins anew.")


class PrewarmFinished(_EventData):
    """A prewarming came to its end."""

    job_id: str = Field(description="Its job.")
    state: Literal["done", "failed", "cancelled"] = Field(description="How it ended.")
    requested: int = Field(ge=0, description="Requests it was made of.")
    warmed: int = Field(ge=0, description="Answers fetched and stored.")
    skipped: int = Field(ge=0, description="Requests whose answers were fresh.")
    failed: int = Field(ge=0, description="Requests that got no answer worth keeping.")
    cost_usd: str = Field(description="What it cost, decimal US dollars.")


class CacheHit(_EventData):
    """An answer came from the cache. Only for endpoints that ask for a share of the hits."""

    request_id: str = Field(description="The request's id, as in its `X-AgentCache-Request-Id`.")
    at: datetime = Field(description="When it was answered.")
    namespace: str = Field(description="Where the entry is.")
    provider: str = Field(description="Whose answer it is.")
    model: str = Field(description="The model that made it.")
    outcome: str = Field(description="Which kind of hit: `exact`, `semantic` or `stale`.")
    cost_avoided_usd: str = Field(description="What the answer would have cost, decimal US dollars.")


class SemanticQuarantined(_EventData):
    """An entry answers no near questions any more: somebody reported its answer, or it answered unusually diverse prompts."""

    entry_key: str = Field(description="The entry's key, in hexadecimal.")
    namespace: str = Field(description="Where the entry is; empty where that is not known.")
    model: str = Field(description="The model that made its answer; empty where that is not known.")
    reason: Literal["reported", "diverse"] = Field(description="Why.")
    prompts: int | None = Field(default=None, description="Of how many prompts that was seen; null of a report.")
    diversity: float | None = Field(default=None, description="How diverse they were, 0 to 1; null of a report.")
    by: str = Field(description="Address of who reported it, or `API key …`; empty for the server itself.")


class JobFinished(_EventData):
    """A job that the team can watch came to its end."""

    job_id: str = Field(description="The job.")
    kind: str = Field(description="What kind of job.")
    state: Literal["done", "failed", "cancelled"] = Field(description="How it ended.")
    done: int = Field(ge=0, description="Units of work done.")
    total: int | None = Field(default=None, description="Units of work there were; null when that was never known.")


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    name: str
    model: type[_EventData]
    #: `data` as a receiver may see it.
    sample: Mapping[str, Any]

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
        CacheInvalidated,
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
        ListenerChanged,
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
        QuotaThreshold,
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
        PrewarmFinished,
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
        CacheHit,
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
        SemanticQuarantined,
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
        JobFinished,
        {
            "job_id": "01935a1d2c3b7f00a1b2c3d4e5f60718",
            "kind": "webhooks.redeliver",
            "state": "done",
            "done": 120,
            "total": 120,
        },
    ),
)
