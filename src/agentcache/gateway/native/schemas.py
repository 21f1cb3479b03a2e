"""What the native API takes and gives, member by member; validation and the OpenAPI document both come from here."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agentcache.gateway.native.near_schemas import NearExplained

KeyText = Annotated[str, Meta(min_length=1, max_length=512, description="64 hex digits, or a name of your own.")]
HexKey = Annotated[str, Meta(min_length=64, max_length=64, pattern="^[0-9a-fA-F]+$", description="64 hex digits.")]
Tags = Annotated[list[str], Meta(max_length=32, description="Any of these labels.")]
Name = Annotated[str, Meta(description="A namespace, 1 to 128 of A-Z a-z 0-9 . _ : and -.")]
Pattern = Annotated[
    str,
    Meta(min_length=1, max_length=512, description="Glob over namespace/dialect/model/label: *, ?, [a-z]."),
]
Money = Annotated[float, Meta(description="US dollars.")]
Amount = Annotated[float | str, Meta(description='US dollars, as a number or as a decimal string such as "0.000123".')]
Lifetime = Annotated[int | str, Meta(description='Seconds, or a duration such as "15m", "12h", "30d".')]
Tokens = Annotated[int, Meta(ge=0, le=2**40)]
Freshness = Annotated[
    str,
    Meta(
        description="fresh: below 75 % of the lifetime; stale: from there to its end; expired: over, and not served.",
        extra_json_schema={"enum": ["fresh", "stale", "expired"]},
    ),
]
KeySpace = Annotated[
    str,
    Meta(
        description="provider: the provider's own route serves this entry too; native: only this API does.",
        extra_json_schema={"enum": ["provider", "native"]},
    ),
]


class Question(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request to a provider, as `request` or as `model` and `messages`."""

    provider: Annotated[str, Meta(description="Whose API the request is for, such as openai.")] | UnsetType = UNSET
    request: (
        Annotated[dict[str, Any], Meta(description="The whole request body, as the provider would get it.")] | UnsetType
    ) = UNSET
    model: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    messages: (
        Annotated[list[Any], Meta(description="Short for a request with this model, these messages and params.")]
        | UnsetType
    ) = UNSET
    params: (
        Annotated[dict[str, Any], Meta(description="Further members of the request besides model and messages.")]
        | UnsetType
    ) = UNSET
    endpoint: (
        Annotated[
            str,
            Meta(description="Which operation, by name (chat.completions) or path; told from the request if absent."),
        ]
        | UnsetType
    ) = UNSET
    headers: (
        Annotated[
            dict[str, str],
            Meta(description="Headers of the request; those that change the answer, and X-AgentCache-*, count."),
        ]
        | UnsetType
    ) = UNSET
    namespace: Name | UnsetType = UNSET
    bucket: Annotated[str, Meta(description="Keeps distinct samples of one request apart.")] | UnsetType = UNSET
    ignore: Annotated[list[str], Meta(max_length=32, description="JSON paths left out of the key.")] | UnsetType = UNSET


class GetRequest(Question, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to look up: exactly one of `request`, `messages`, `prompt` and `key`."""

    prompt: (
        Annotated[
            str, Meta(description="A text of your own; with the model it names an entry of the native key space.")
        ]
        | UnsetType
    ) = UNSET
    key: KeyText | UnsetType = UNSET


class SetRequest(GetRequest, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to store, and for which request, prompt or key."""

    value: Annotated[Any, Meta(description="The provider's answer to the request, or any other JSON value.")]
    ttl: Lifetime | UnsetType = UNSET
    tags: Annotated[list[str], Meta(max_length=32, description="Labels to invalidate by.")] | UnsetType = UNSET
    sources: (
        Annotated[list[str], Meta(max_length=32, description="URLs that the answer was made from.")] | UnsetType
    ) = UNSET
    cost_usd: Amount | UnsetType = UNSET
    input_tokens: Tokens | UnsetType = UNSET
    output_tokens: Tokens | UnsetType = UNSET


class GetReply(msgspec.Struct, kw_only=True):
    """A look-up's outcome. On a miss, `value` and what describes an entry are null, and `reason` says why."""

    hit: bool
    key: Annotated[str, Meta(description="The entry's key; on a miss the key under which it would be stored.")]
    value: Annotated[Any, Meta(description="The answer; of a stored stream, the plain answer it amounts to.")] = None
    value_encoding: (
        Annotated[
            str,
            Meta(
                description="json: as it is; base64: bytes, such as speech; text: a stream that cannot be joined.",
                extra_json_schema={"enum": ["json", "base64", "text"]},
            ),
        ]
        | None
    ) = None
    freshness: Freshness | None = None
    age: Annotated[int, Meta(description="Seconds since the answer was made.")] | None = None
    ttl: Annotated[int, Meta(description="Seconds left of the lifetime.")] | None = None
    cost_saved_usd: Money = 0.0
    saved_ms: Annotated[int, Meta(description="How long the provider took when the answer was made.")] = 0
    stored_at: Annotated[str, Meta(description="RFC 3339, UTC.")] | None = None
    dialect: str = ""
    endpoint: str = ""
    model: str = ""
    namespace: str = ""
    key_space: KeySpace | None = None
    tags: list[str] = []
    sources: list[str] = []
    reason: (
        Annotated[
            str,
            Meta(
                description="Why there is no hit. An expired entry is a miss.",
                extra_json_schema={"enum": ["absent", "expired", "older_than_max_age", "store_unavailable"]},
            ),
        ]
        | None
    ) = None
    bypass: (
        Annotated[str, Meta(description="Why the provider's route never answers this request from the cache.")] | None
    ) = None


class SetReply(msgspec.Struct, kw_only=True):
    """What was stored, and where."""

    key: str
    stored: bool
    ttl: Annotated[int, Meta(description="Seconds.")]
    expires_at: Annotated[str, Meta(description="RFC 3339, UTC.")]
    bytes: int
    dialect: str
    endpoint: str
    model: str
    namespace: str
    key_space: KeySpace
    cost_usd: Money
    reason: (
        Annotated[str, Meta(description="Why the provider's route does not serve it; null when it does.")] | None
    ) = None


class EntryRow(msgspec.Struct, kw_only=True):
    """What is known about an entry besides its value."""

    key: str
    namespace: str
    dialect: str
    endpoint: str
    model: str
    label: str
    key_space: KeySpace
    freshness: Freshness
    age: Annotated[int, Meta(description="Seconds since the answer was made.")]
    ttl: Annotated[int, Meta(description="Seconds left of the lifetime; negative when it is over.")]
    stored_at: Annotated[str, Meta(description="RFC 3339, UTC.")]
    expires_at: Annotated[str, Meta(description="RFC 3339, UTC.")]
    stale_while_revalidate: Annotated[
        int, Meta(description="Seconds past the lifetime for which it is served at once while it is asked for anew.")
    ]
    stale_if_error: Annotated[
        int, Meta(description="Seconds past the lifetime for which it stands in for a failing provider.")
    ]
    marked_stale_at: (
        Annotated[
            str, Meta(description="When a soft invalidation ended the lifetime, RFC 3339; null for one that stands.")
        ]
        | None
    )
    tags: list[str]
    sources: list[str]
    bytes: Annotated[int, Meta(description="Length of the stored answer.")]
    hits: Annotated[int, Meta(description="How often the entry was read.")]
    last_used_at: Annotated[str, Meta(description="RFC 3339, UTC.")]
    cost_usd: Annotated[float, Meta(description="What the provider charged; what each hit saves. US dollars.")]
    input_tokens: int
    output_tokens: int
    status: int
    content_type: str
    streamed: Annotated[bool, Meta(description="Whether the provider's stream is what is kept.")]
    writer: Annotated[str, Meta(description="Id of the API key that wrote it.")]


class EntryReply(EntryRow, kw_only=True):
    """An entry with its value."""

    value: Any
    value_encoding: str


class EntriesQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which entries to list; all given criteria must hold."""

    namespace: Name | UnsetType = UNSET
    dialect: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    tag: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    source: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET
    pattern: Pattern | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, Meta(max_length=512, description="From the page before.")] = ""


class EntriesPage(msgspec.Struct, kw_only=True):
    """Entries, newest first."""

    entries: list[EntryRow]
    cursor: Annotated[str, Meta(description="Continues the list; empty at its end.")]


class GetQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The key to look up."""

    key: KeyText
    namespace: Name | UnsetType = UNSET
    bucket: str | UnsetType = UNSET


class StatsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Over which time to count calls."""

    days: Annotated[int, Meta(ge=1, le=366, description="Count calls of the last days.")] = 30


class CallTotals(msgspec.Struct, kw_only=True):
    """Calls of the team in the last `days`."""

    days: int
    requests: int
    hits: int
    coalesced: int
    misses: int
    hit_ratio: float | None
    cost_usd: Money
    saved_usd: Money


class StatsReply(msgspec.Struct, kw_only=True):
    """What the cache holds for the team; `calls` is null where nobody counts them."""

    entries: int
    bytes: int
    namespaces: Annotated[dict[str, int], Meta(description="Entries per namespace.")]
    calls: CallTotals | None


class PreWarm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How to ask again."""

    limit: Annotated[int, Meta(ge=1, le=10_000, description="Requests, at most; the newest first.")] = 10_000
    cost_cap_usd: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Decimal US dollars that it may cost; null for no cap, and the server's default when left out.",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    concurrency: Annotated[int, Meta(ge=1, le=32, description="Requests at once.")] = 4


class InvalidateRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which entries are outdated: all given criteria must hold, and there has to be one."""

    pattern: Pattern | UnsetType = UNSET
    namespace: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    url: (
        Annotated[
            str,
            Meta(min_length=1, max_length=2048, description="A source that answers were made from, in any spelling."),
        ]
        | UnsetType
    ) = UNSET
    older_than: (
        Annotated[int | str, Meta(description='Stored longer ago: seconds, or a duration such as "12h", "30d".')]
        | UnsetType
    ) = UNSET
    older_than_ms: Annotated[int, Meta(ge=0, le=2**53, description="The same in milliseconds.")] | UnsetType = (
        msgspec.field(name="olderThan", default=UNSET)
    )
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    provider: Annotated[str, Meta(max_length=200, description="Whose dialect: openai, anthropic …")] | UnsetType = UNSET
    keys: Annotated[list[HexKey], Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    reason: Annotated[str, Meta(max_length=500, description="For the audit log and the webhook event.")] = ""
    dry_run: Annotated[bool, Meta(description="Change nothing; say what it would be, with a preview.")] = False
    soft: Annotated[
        bool,
        Meta(
            description="Mark the entries stale instead of removing them: they are served within their "
            "stale-while-revalidate and stale-if-error windows only, which begin now."
        ),
    ] = False
    notify: Annotated[bool, Meta(description="Whether webhooks get the event cache.invalidated.")] = True
    pre_warm: Annotated[
        bool | PreWarm,
        Meta(
            description="Ask again, in a job, for what had been asked: with requests that the team keeps and its provider "
            "credentials. Needs the scope admin, for it costs money; an object says how much at most."
        ),
    ] = msgspec.field(name="preWarm", default=False)


class BlastRadius(msgspec.Struct, kw_only=True):
    """What an invalidation would meet, and what these entries did in the last seven days."""

    entries: int
    bytes: int
    by_namespace: Annotated[dict[str, int], Meta(description="Entries per namespace.")]
    hits_last_7_days: (
        Annotated[int, Meta(description="Requests that these entries answered; null where nobody counts them.")] | None
    )
    saved_last_7_days_usd: Annotated[float, Meta(description="What those hits saved. US dollars.")] | None
    hits_since: (
        Annotated[
            str,
            Meta(
                description="From when on hits are counted, RFC 3339: later than seven days ago where there are many."
            ),
        ]
        | None
    )
    hits_complete: Annotated[
        bool, Meta(description="False where there were more hits than are counted: it is then the least it can be.")
    ]


class InvalidateReply(msgspec.Struct, kw_only=True):
    """What was met; with `dry_run`, what would be."""

    id: Annotated[str, Meta(description="Names it in the audit log and in the event; empty for a dry run.")] = ""
    invalidated: Annotated[int, Meta(description="Entries that no worker serves as good any more.")]
    namespaces: Annotated[list[str], Meta(description="Where they were.")]
    estimated_cost_impact: Annotated[
        float, Meta(description="What it would cost to ask for all of them anew, at the prices paid. US dollars.")
    ] = msgspec.field(name="estimatedCostImpact")
    pre_warmed: Annotated[int, Meta(description="Requests that the job asks again; with dry_run, that it would.")] = (
        msgspec.field(name="preWarmed", default=0)
    )
    pre_warm_problem: (
        Annotated[str, Meta(description="Why nothing is asked again although preWarm was given: a code.")] | None
    ) = msgspec.field(name="preWarmProblem", default=None)
    soft: bool = False
    dry_run: bool
    recorded: Annotated[
        bool, Meta(description="False where the audit log could not be told: the entries are gone all the same.")
    ] = False
    job: Annotated[str, Meta(description="The job that asks anew; null where there is none.")] | None = None
    preview: Annotated[BlastRadius, Meta(description="With dry_run only.")] | None = None


class PurgeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which entries to remove: all given criteria must hold, or `all: true` for every entry of the team."""

    namespace: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    source: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET
    pattern: Pattern | UnsetType = UNSET
    dialect: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    keys: Annotated[list[HexKey], Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    all: bool = False
    dry_run: Annotated[bool, Meta(description="Remove nothing; say how many it would be.")] = False


class PurgeReply(msgspec.Struct, kw_only=True):
    """How many entries no worker serves any more; with `dry_run`, how many it would be."""

    invalidated: int
    dry_run: bool


class KeyPart(msgspec.Struct, kw_only=True):
    """One part of a request, and whether the cache key depends on it."""

    name: str
    in_key: bool
    why: str


class Difference(msgspec.Struct, kw_only=True):
    """One part in which the request and the nearest entry differ."""

    name: str
    change: Annotated[
        str,
        Meta(
            description="changed: both have it; added: only the request has it; removed: only the entry has it.",
            extra_json_schema={"enum": ["changed", "added", "removed"]},
        ),
    ]


class NearestEntry(msgspec.Struct, kw_only=True):
    """The stored entry that has most parts in common with the request."""

    key: str
    namespace: str
    model: str
    stored_at: str
    freshness: Freshness
    equal_parts: int
    differences: list[Difference]


class Search(msgspec.Struct, kw_only=True):
    """How far the search for the nearest entry went: the newest entries of the same dialect, up to a limit."""

    examined: int
    limit: int
    complete: Annotated[bool, Meta(description="Whether there were no older entries to look at.")]


class ExplainReply(msgspec.Struct, kw_only=True):
    """How a request's cache key comes about, and on a miss what is nearest to it."""

    key: str
    hit: bool
    dialect: str
    endpoint: str
    model: str
    namespace: str
    bucket: str
    reason: str | None
    bypass: Annotated[str, Meta(description="Why the request never uses the cache.")] | None
    policy: Annotated[str, Meta(description="The team's policy that decides how the answer is kept.")] | None
    parts: list[KeyPart]
    nearest: NearestEntry | None
    search: Search | None
    near: (
        Annotated[NearExplained, Meta(description="What near questions come to, where the namespace has them on.")]
        | None
    )
    hints: list[str]


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457). `code` is stable; `param` names the header or member at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    param: str | UnsetType = UNSET
