"""The members of each event's `data`, as a model that checks them and makes their JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class EventData(BaseModel):
    """What an event tells, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class CacheInvalidated(EventData):
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


class ListenerChanged(EventData):
    """A watched source changed."""

    listener_id: str = Field(description="Which listener saw it.")
    url: str = Field(description="The source.")
    checked_at: datetime = Field(description="When it was seen.")
    namespace: str | None = Field(default=None, description="What the listener is bound to.")
    tags: list[str] = Field(default_factory=list, description="What the listener is bound to.")
    summary: str = Field(default="", description="The beginning of the readable difference.")
    invalidated: int = Field(default=0, ge=0, description="Entries invalidated for it.")


class QuotaThreshold(EventData):
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


class PrewarmFinished(EventData):
    """A prewarming came to its end."""

    job_id: str = Field(description="Its job.")
    state: Literal["done", "failed", "cancelled"] = Field(description="How it ended.")
    requested: int = Field(ge=0, description="Requests it was made of.")
    warmed: int = Field(ge=0, description="Answers fetched and stored.")
    skipped: int = Field(ge=0, description="Requests whose answers were fresh.")
    failed: int = Field(ge=0, description="Requests that got no answer worth keeping.")
    cost_usd: str = Field(description="What it cost, decimal US dollars.")


class CacheHit(EventData):
    """An answer came from the cache. Only for endpoints that ask for a share of the hits."""

    request_id: str = Field(description="The request's id, as in its `X-AgentCache-Request-Id`.")
    at: datetime = Field(description="When it was answered.")
    namespace: str = Field(description="Where the entry is.")
    provider: str = Field(description="Whose answer it is.")
    model: str = Field(description="The model that made it.")
    outcome: str = Field(description="Which kind of hit: `exact`, `semantic` or `stale`.")
    cost_avoided_usd: str = Field(description="What the answer would have cost, decimal US dollars.")


class SemanticQuarantined(EventData):
    """An entry answers no near questions any more: somebody reported its answer, or it answered unusually diverse prompts."""

    entry_key: str = Field(description="The entry's key, in hexadecimal.")
    namespace: str = Field(description="Where the entry is; empty where that is not known.")
    model: str = Field(description="The model that made its answer; empty where that is not known.")
    reason: Literal["reported", "diverse"] = Field(description="Why.")
    prompts: int | None = Field(default=None, description="Of how many prompts that was seen; null of a report.")
    diversity: float | None = Field(default=None, description="How diverse they were, 0 to 1; null of a report.")
    by: str = Field(description="Address of who reported it, or `API key …`; empty for the server itself.")


class JobFinished(EventData):
    """A job that the team can watch came to its end."""

    job_id: str = Field(description="The job.")
    kind: str = Field(description="What kind of job.")
    state: Literal["done", "failed", "cancelled"] = Field(description="How it ended.")
    done: int = Field(ge=0, description="Units of work done.")
    total: int | None = Field(default=None, description="Units of work there were; null when that was never known.")


#: By the name of the type.
MODELS: Final[Mapping[str, type[EventData]]] = MappingProxyType(
    {
        "cache.invalidated": CacheInvalidated,
        "listener.changed": ListenerChanged,
        "quota.threshold": QuotaThreshold,
        "prewarm.finished": PrewarmFinished,
        "cache.hit": CacheHit,
        "semantic.quarantined": SemanticQuarantined,
        "job.finished": JobFinished,
    }
)
