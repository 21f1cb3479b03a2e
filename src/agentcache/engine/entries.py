"""The nouns of the cache: tenant, cache key, entry, selector."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

#: Bumped whenever stored metadata can no longer be read by the code; older rows are then misses.
ENTRY_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Tenant:
    """The isolation unit of the data plane. Stores take a tenant, never an id, so that none can be forgotten."""

    id: str
    #: 32 bytes; keys the HMAC that makes cache keys. Never stored beside the entries.
    key_secret: bytes
    #: 32 bytes for AES-256-GCM over values, or None where values are kept in clear.
    data_key: bytes | None = None


class EntryMeta(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What is known about a stored answer besides its bytes. Times are Unix seconds, windows are seconds."""

    format: int = ENTRY_FORMAT
    namespace: str = "default"
    dialect: str
    endpoint: str
    model: str = ""
    #: The caller's readable name for the request; with the others forms `namespace/dialect/model/label`.
    label: str = ""
    status: int = 200
    content_type: str = "application/json"
    #: True when `body` is the upstream's SSE bytes, False when it is a plain answer.
    streamed: bool = False
    stored_at: float
    lifetime_seconds: float
    stale_while_revalidate_seconds: float = 0.0
    stale_if_error_seconds: float = 0.0
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    #: What the upstream call cost at the price in force then; what a hit saves. 1e-9 USD.
    cost_usd_nanos: int = 0
    upstream_ms: float = 0.0
    #: Which API key wrote it (provenance).
    writer: str = ""
    #: Upstream response headers worth replaying (never cookies, rate limits, request ids).
    headers: tuple[tuple[str, str], ...] = ()
    #: Keyed fingerprints of the request's parts, for `/api/cache/explain`: path -> 8 bytes.
    parts: dict[str, bytes] = {}

    @property
    def path(self) -> str:
        """The readable path that patterns match: `namespace/dialect/model/label`."""
        return f"{self.namespace}/{self.dialect}/{self.model}/{self.label}"

    @property
    def expires_at(self) -> float:
        """When the freshness lifetime ends."""
        return self.stored_at + self.lifetime_seconds


def outdated(meta: EntryMeta, since: float) -> EntryMeta:
    """Return the metadata of an answer that is known to be outdated: its lifetime ended then, its windows began."""
    lifetime = max(0.0, min(meta.lifetime_seconds, since - meta.stored_at))
    return msgspec.structs.replace(meta, lifetime_seconds=lifetime)


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two times of which either may not be."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached answer: its key (32 bytes), metadata and the bytes that the upstream sent."""

    key: bytes
    meta: EntryMeta
    body: bytes
    #: Since when a soft invalidation has the answer outdated (Unix seconds); `meta.lifetime_seconds` then ends there.
    stale_at: float | None = None


#: Position in a tenant's invalidation log. A fill remembers the mark it started from.
Mark = int


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a store knows about a key now: the entry, if there is one, and the invalidation mark to fill from."""

    entry: Entry | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Reach:
    """What a selector means at one moment: entries past their grace are not counted. Money is 1e-9 USD."""

    entries: int = 0
    body_bytes: int = 0
    #: What it would cost to ask for all of these answers anew, at the prices paid.
    cost_usd_nanos: int = 0
    #: namespace -> entries
    namespaces: dict[str, int] = field(default_factory=dict)


class Selector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which entries of a tenant are meant; all given criteria must hold (AND). An empty one matches everything."""

    keys: tuple[bytes, ...] = ()
    namespace: str | None = None
    #: Any of these tags.
    tags: tuple[str, ...] = ()
    #: A source URL that the answer was made from; other spellings of its normal form (`engine.sources`) mean it too.
    source: str | None = None
    #: Glob (`*`, `?`, `[...]`, case-sensitive) over `EntryMeta.path`.
    pattern: str | None = None
    dialect: str | None = None
    model: str | None = None
    #: Only entries stored at or before this Unix time.
    stored_before: float | None = None
