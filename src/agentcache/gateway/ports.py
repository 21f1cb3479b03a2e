"""The ports to the control plane: who is calling, what happened, and what is to be done later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import msgspec

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.policies import NO_POLICIES, PolicySet
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.kit.networks import Networks


class Scope(Enum):
    """What a credential may do."""

    CACHE_READ = "cache:read"
    CACHE_WRITE = "cache:write"
    STATS_READ = "stats:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: a team's API key (later also an access token), with what it may do."""

    tenant: Tenant
    api_key_id: str
    scopes: frozenset[Scope]
    #: Namespace used when the caller names none.
    namespace: str = "default"
    #: How long the team's answers stay fresh when a caller says nothing; None for the server's default.
    lifetime_seconds: float | None = None
    is_test: bool = False
    #: The member whose key it is; "" for a key that belongs to the team.
    user_id: str = ""
    #: Where the key may be used from; None for anywhere.
    networks: Networks | None = None
    #: How the team wants answers kept.
    policies: PolicySet = NO_POLICIES
    #: Whether the team wants what is fetched and stored to be asked again one day.
    keeps_requests: bool = False
    #: Whether near questions may share an answer, by namespace; "*" stands for those that are not named.
    semantics: Mapping[str, SemanticSettings] = field(default_factory=dict)


class Refusal(Enum):
    """Why a key that was real is let in no more."""

    REVOKED = "revoked_key"
    ROTATED = "rotated_key"
    EXPIRED = "expired_key"
    #: Its member was disabled or is not in the team any more.
    INACTIVE = "inactive_key"


class Directory(Protocol):
    """Answers whose key this is. Implemented by the control plane over its database."""

    async def find_principal(self, api_key: str) -> Principal | Refusal | None:
        """Return the principal of a well-formed key (its checksum already verified), why it has none, or None.

        Only who holds the whole of a key that was real hears why. Raises `Unavailable` when the database cannot answer.
        """


class Outcome(Enum):
    """How a request ended, for counting."""

    EXACT = "exact"
    SEMANTIC = "semantic"
    STALE = "stale"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"
    ERROR = "error"
    REFUSED = "refused"
    #: No request of anybody's: the cache asked the provider anew, behind a caller that had a stale answer at once.
    REFRESH = "refresh"
    #: No request of anybody's either: the team had the server ask before anybody does.
    PREWARM = "prewarm"
    #: Nor is this: the team had the server ask a model whether one answer serves two questions.
    JUDGE = "judge"

    # Members are made once, so what they are is who they are: hashed without a call of Python for every look-up.
    __hash__ = object.__hash__


#: In place of a temperature: the event does not tell, and the request named none.
NOT_TOLD = -2
NOT_NAMED = -1


class UsageEvent(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One request. Money is 1e-9 USD, times are Unix milliseconds and microseconds. Holds no prompt and no answer."""

    id: str
    at_ms: int
    tenant_id: str
    api_key_id: str
    dialect: str
    endpoint: str
    model: str
    namespace: str
    outcome: str
    status: int
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd_nanos: int = 0
    saved_usd_nanos: int = 0
    latency_us: int = 0
    upstream_us: int = 0
    agent: str = ""
    #: Why it ended so: words of `Cache-Status` (RFC 9211) and its `detail`, or an error's code.
    reason: str = ""
    #: Hex key of the entry asked for; empty where none was.
    entry_key: str = ""
    #: How the answer stood when it was served from the cache: a value of `Freshness`.
    freshness: str = ""
    #: Who made the key.
    user_id: str = ""
    #: How many requests this stands for: refused ones that are alike are summed up, and what nobody waited for is none.
    requests: int = 1
    #: Id of the team's policy that decided how the answer is kept; "" without one, and on hits.
    policy: str = ""
    #: Thousandths of the temperature that the request named; see below for none. Told where a provider was asked.
    temperature_milli: int = NOT_TOLD
    #: Tags, separated by commas, and source URLs, by blanks. Told where a provider was asked.
    tags: str = ""
    sources: str = ""


class SemanticEvent(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One near question: served, compared, or reported. Money is 1e-9 USD, the time in Unix milliseconds."""

    id: str
    at_ms: int
    tenant_id: str
    namespace: str
    #: `hit`: the stored answer was served. `shadow`: it would have been, and the provider was asked. `judged`: it would
    #: not have been, the provider was asked, and both answers were compared. `reported`: a person or program said so.
    kind: str
    #: Of the request that asked; of a report, of the request that is reported, "" where only the entry is known.
    request_id: str
    #: Of the entry that was near, in hexadecimal.
    entry_key: str
    #: Both questions: what `gateway.semantic.spool.open_texts` opens.
    sealed: bytes = b""
    cosine: float = 0.0
    #: The verifier's, or the cosine where that is the verifier; 0 where a veto came first.
    score: float = 0.0
    threshold: float = 0.0
    #: What gave the score: the verifier's version or `cosine`.
    verifier: str = ""
    #: Reason word of the veto that kept it from being served; "" without one.
    veto: str = ""
    #: Feature -> value, as the verifier saw them.
    features: dict[str, float] = {}
    #: (feature, value, effect on the score): what decided, strongest first.
    reasons: list[tuple[str, float, float]] = []
    #: Whether both answers say the same (of a report: whether the hit was right); None where that was not decided.
    agreed: bool | None = None
    #: What decided: `normalised`, `embedding`, `judge`, `caller`; "" where nothing did.
    judged_by: str = ""
    #: With which probability such a case is compared: evidence counts by its inverse.
    share: float = 1.0
    saved_usd_nanos: int = 0
    #: API key id of who placed the entry, and of who asked.
    writer: str = ""
    api_key_id: str = ""
    dialect: str = ""
    model: str = ""
    #: Of a report: what the reporter added; sealed like the questions.
    note: bytes = b""
    #: How likely it was to want another answer, by the rule in force, and the highest risk that answers; None without a rule.
    risk: float | None = None
    risk_limit: float | None = None
    #: Of the entry that holds the provider's own answer, in hexadecimal, where comparing it decided nothing and it was stored.
    asked_key: str = ""
    #: Which share of the near questions is known to have the entry's answer, 0 to 1; None where it is not known.
    agreement: float | None = None


class UsageSink(Protocol):
    """Where batches of usage events go. Implemented by the control plane."""

    async def write(self, events: list[UsageEvent]) -> None:
        """Keep the events, each exactly once by its id. May raise; the meter then tries again."""


@dataclass(frozen=True, slots=True)
class TenantTotals:
    """Calls of one tenant over a time; money is 1e-9 USD."""

    requests: int
    hits: int
    coalesced: int
    misses: int
    cost_usd_nanos: int
    saved_usd_nanos: int


@dataclass(frozen=True, slots=True)
class EntryHits:
    """Hits of one tenant by the entry that answered; money is 1e-9 USD."""

    #: Cache key in hex -> (hits, what they saved).
    by_entry: Mapping[str, tuple[int, int]]
    #: Unix milliseconds from which on hits are counted; later than asked for where there were too many.
    since_ms: int
    #: Whether every hit since then is counted, to the entry with the fewest.
    is_complete: bool = True


class UsageTotals(Protocol):
    """Adds up usage. Implemented by the control plane over its database."""

    async def tenant_totals(self, tenant_id: str, since_ms: int) -> TenantTotals:
        """Return the totals since a Unix time in milliseconds. Raises `Unavailable`."""

    async def entry_hits(self, tenant_id: str, since_ms: int) -> EntryHits:
        """Return how often each entry answered since a Unix time in milliseconds. Raises `Unavailable`."""

    async def near_answer(self, tenant_id: str, request_id: str) -> str | None:
        """Return the key, in hexadecimal, of the entry that answered a request of the tenant to a near question.

        None where it was answered otherwise, or is not known as yet. Raises `Unavailable`.
        """


#: Job: POST `payload["body"]` (JSON text, sent as it is) to `payload["url"]` until it is accepted, signed per Standard
#: Webhooks. Payload members, all strings: `tenant_id`, `url`, `body`, `message_id` (the same for each repetition).
DELIVER_WEBHOOK = "webhook.deliver"


#: Job: write an invalidation down in the audit log, and tell the team's webhooks. Payload: `InvalidationRecord`.
RECORD_INVALIDATION = "cache.record_invalidation"


class InvalidationRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An invalidation that was acknowledged. Money is 1e-9 USD, the time in Unix seconds."""

    #: Names it in the audit log; an invalidation is recorded once, however often this comes.
    id: str
    tenant_id: str
    at: float
    #: As they were given; see `gateway.native.schemas.InvalidateRequest`.
    criteria: dict[str, Any]
    entries: int
    body_bytes: int = 0
    #: namespace -> entries
    namespaces: dict[str, int] = {}
    cost_usd_nanos: int = 0
    is_soft: bool = False
    reason: str = ""
    #: Whether webhooks are told.
    notify: bool = True
    #: Who asked for it: `api`, `page`, `command` or `listener`.
    cause: str = "api"
    api_key_id: str = ""
    user_id: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """How to ask again what was invalidated. Money is 1e-9 USD."""

    limit: int
    concurrency: int
    #: None for no cap, unset for the server's default.
    cost_cap_usd_nanos: int | msgspec.UnsetType | None = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """What came of asking again."""

    requests: int = 0
    job_id: str = ""
    #: Why nothing is asked: code and message of an error; "" where something is.
    problem: str = ""
    detail: str = ""


class Prewarmer(Protocol):
    """Asks providers again for what was invalidated, with requests and credentials that the team keeps.

    Implemented by the control plane. What was asked is told by what was kept with the requests, so the entries may be gone.
    """

    async def ask_again(
        self,
        tenant_id: str,
        selector: Selector,
        at: float,
        how: AskAgain,
        *,
        api_key_id: str,
        user_id: str,
        address: str,
    ) -> AskedAgain:
        """Start a job that asks for the answers that a selector meant at a Unix time. Raises `Unavailable`."""

    async def would_ask(self, tenant_id: str, selector: Selector, at: float, how: AskAgain) -> AskedAgain:
        """Say what `ask_again` would do now, and do nothing. Raises `Unavailable`."""


#: Job: have those kept requests asked anew whose answers are known to be outdated. Payload: `OutdatedRecord`.
REFRESH_OUTDATED = "prewarm.refresh_outdated"


class OutdatedRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answers that are outdated since a Unix time: what any of the selectors means."""

    tenant_id: str
    at: float
    #: Sources, each as one criterion.
    sources: list[str] = []
    namespace: str | None = None
    tags: list[str] = []
    #: What of a listener's history is told how many are asked anew; 0 for nothing.
    event_id: int = 0


class JobQueue(Protocol):
    """Takes work for the job worker, which does it at least once. Implemented by the control plane over its database."""

    async def enqueue(self, name: str, payload: dict[str, object], *, delay_seconds: float = 0.0) -> None:
        """Keep a job; durable when it returns. `payload` is a JSON object. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What one subject of a team may use: the team itself, a member, a key or an agent. None means no limit."""

    #: `team`, `member`, `key` or `agent`.
    kind: str
    #: Id of the member or key, name of the agent; "" for the team.
    subject: str
    requests_per_month: int | None = None
    requests_per_minute: int | None = None
    #: 1e-9 USD of what providers are paid.
    budget_usd_nanos_per_month: int | None = None
    #: Whether calls are refused beyond it; a soft limit of a month only tells people.
    is_hard: bool = True
    #: Whether a hard budget lets calls through whose price nobody knows; they count as nothing.
    allows_unknown_price: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What a subject has used in a calendar month; money is 1e-9 USD."""

    requests: int = 0
    cost_usd_nanos: int = 0


@dataclass(frozen=True, slots=True)
class TeamLimits:
    """Every limit of a team, and what has been recorded so far against each in one month."""

    limits: tuple[Limit, ...] = ()
    #: Whether an answer that is in the cache is still served when the month's requests are used up.
    serves_hits_over_quota: bool = True
    #: year * 100 + month, UTC.
    month: int = 0
    used: Mapping[tuple[str, str], Use] = field(default_factory=dict)


class LimitBook(Protocol):
    """Knows the limits of teams. Implemented by the control plane over its database."""

    async def limits_of(self, tenant_id: str, month: int, counted: Mapping[tuple[str, str], Use]) -> TeamLimits:
        """Return a team's limits and use. Raises `Unavailable`.

        `counted` is where the shared counters stand, by kind and subject; it is kept where it is ahead of the record,
        so that what is shown is what is enforced.
        """
