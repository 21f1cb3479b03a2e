"""One request on its way through the gateway, and the parts of the gateway that it meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentcache.engine.entries import Mark
from agentcache.engine.flights import Flights
from agentcache.engine.freshness import Freshness
from agentcache.engine.keys import KeyMaterial, cache_key, without_members, without_paths
from agentcache.engine.policies import Facts, Policy, temperature_of
from agentcache.engine.stores.port import EntryStore, FlightBoard
from agentcache.gateway.admission import FREE, Admission, Pass
from agentcache.gateway.asgi_types import ASGIScope, HeaderList, Receive, Send
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.callers import Caller
from agentcache.gateway.directives import Directives
from agentcache.gateway.kept_requests import RequestKeeper
from agentcache.gateway.key_failures import KeyFailures
from agentcache.gateway.known_hits import KnownHits, NoKnownHits
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import NOT_NAMED, NOT_TOLD, JobQueue, Outcome, Principal, Scope, UsageEvent
from agentcache.gateway.prepared import PreparedRequests
from agentcache.gateway.refusals import Refusals
from agentcache.gateway.replies import HitHeaders
from agentcache.kit.clock import Clock
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Dialect, Endpoint, Json, SSEEvent, Usage
from agentcache.providers.prices import Prices
from agentcache.settings import Settings

if TYPE_CHECKING:
    from agentcache.gateway.refreshing import Refreshes
    from agentcache.gateway.semantic.looking import Look
    from agentcache.gateway.semantic.tier import NoSemanticTier, SemanticTier

#: How many tokens an answer is taken to have when its request does not bound it.
OUTPUT_TOKENS_MAX = 4096
#: How much of a call's tags and sources its usage event holds.
TAGS_CHARS_MAX = 1000
SOURCES_CHARS_MAX = 2000
#: Why the cache stood aside where a policy of the team says so, for `Cache-Status` `detail`.
KEPT_OUT = "policy"
_ASKED_PROVIDER = frozenset({Outcome.MISS, Outcome.COALESCED, Outcome.REFRESH, Outcome.PREWARM, Outcome.JUDGE})
#: Nobody waits for these, and they are requests of nobody.
_OWN = frozenset({Outcome.REFRESH, Outcome.PREWARM, Outcome.JUDGE})
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Head:
    """The start of an upstream's response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    streamed: bool

    @property
    def is_success(self) -> bool:
        """Say whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway is made of; built once in `agentcache.asgi` and handed down."""

    settings: Settings
    clock: Clock
    dialects: dict[str, Dialect]
    entries: EntryStore
    board: FlightBoard
    #: Whether other workers can be leading a flight, so that the board is worth asking.
    is_shared: bool
    flights: Flights[Head, SSEEvent]
    upstream: UpstreamClient
    timeouts: UpstreamTimeouts
    prepared: PreparedRequests
    hit_headers: HitHeaders
    known_hits: KnownHits | NoKnownHits
    refreshes: Refreshes
    authenticator: Authenticator
    key_failures: KeyFailures
    meter: Meter
    refusals: Refusals
    prices: Prices
    jobs: JobQueue
    admission: Admission
    kept_requests: RequestKeeper
    semantic: SemanticTier | NoSemanticTier


@dataclass(slots=True)
class Call:
    """One authenticated request to a provider's route."""

    parts: Parts
    asgi_scope: ASGIScope
    receive: Receive
    send: Send
    request_id: str
    started: float
    dialect: Dialect
    #: The provider's own path, from `/v1` on, still percent-encoded.
    path: str
    caller: Caller
    principal: Principal
    endpoint: Endpoint | None = None
    path_params: dict[str, str] = field(default_factory=dict)
    raw_body: bytes = b""
    body: Json = field(default_factory=dict)
    material: KeyMaterial | None = None
    key: bytes = b""
    mark: Mark | None = None
    #: Why the cache stood aside, for `Cache-Status` `detail`.
    detail: str = ""
    #: The team's policy that matches.
    policy: Policy | None = None
    #: Whether the meter has been told how this ended; each request is one usage event.
    is_recorded: bool = False
    #: What its limits let it do.
    admitted: Pass = FREE
    #: What the look-up of a near question found; None where there was none.
    look: Look | None = None

    @property
    def directives(self) -> Directives:
        """What the caller asks of the cache."""
        return self.caller.directives

    @property
    def namespace(self) -> str:
        """The namespace in force."""
        return self.caller.directives.namespace or self.principal.namespace

    @property
    def keeping(self) -> Keeping:
        """For how long an answer to this call is to be kept."""
        return keeping(self.parts.settings, self.principal, self.policy, self.caller.directives.lifetime_seconds)

    @property
    def lifetime_seconds(self) -> float:
        """How long an answer to this call may be served."""
        return self.keeping.lifetime_seconds

    @property
    def is_kept_out(self) -> bool:
        """Whether a policy of the team wants the cache to take no part."""
        return self.policy is not None and not self.policy.stores

    @property
    def ignored(self) -> tuple[tuple[str | int, ...], ...]:
        """The JSON paths left out of the key: the caller's and the policy's."""
        asked = self.caller.directives.ignore
        if self.policy is None or not self.policy.ignore:
            return asked
        # In the order of the header, so that both ways of saying it make the same key.
        return tuple(sorted({*asked, *self.policy.ignore}, key=str))

    @property
    def carried(self) -> tuple[object, ...]:
        """What an entry made by this call carries that another call's with the same key need not."""
        directives = self.caller.directives
        carried: tuple[object, ...] = (directives.tags, directives.sources, directives.lifetime_seconds)
        return carried if self.policy is None else (*carried, self.keeping)

    @property
    def policy_header(self) -> HeaderList:
        """The header that names the policy which decided, if one did."""
        # Names are of any script; what a header cannot hold is left out.
        return [] if self.policy is None else [(b"x-agentcache-policy", header_text(self.policy.name))]

    def apply_policies(self) -> None:
        """Find the team's policy for the body; to be asked once it is read."""
        policies = self.principal.policies
        if policies.policies:
            self.policy = policies.find(self.facts)

    @property
    def facts(self) -> Facts:
        """What policies can see of this call."""
        directives = self.caller.directives
        return Facts(
            dialect=self.dialect.name,
            model=self.model,
            namespace=self.namespace,
            tags=directives.tags,
            sources=directives.sources,
            body=self.body,
        )

    @property
    def model(self) -> str:
        """The model asked for, or an empty string."""
        model = model_of(self.endpoint, self.body)
        if not model and "owner" in self.path_params:
            return f"{self.path_params['owner']}/{self.path_params.get('name', '')}"[:200]
        return model

    @property
    def wants_stream(self) -> bool:
        """Whether the caller asked for server-sent events."""
        return self.body.get("stream") is True

    @property
    def may_write(self) -> bool:
        """Whether the answer may be stored: the caller wants it and the key may place entries."""
        scopes = self.principal.scopes
        return self.caller.directives.writes and (Scope.CACHE_WRITE in scopes or Scope.ADMIN in scopes)

    def material_of(self, body: Json) -> KeyMaterial:
        """Return what the key of `body` is made from, for this caller and endpoint."""
        assert self.endpoint is not None
        return key_material(
            self.dialect,
            self.endpoint,
            body,
            namespace=self.namespace,
            bucket=self.caller.directives.bucket,
            headers=self.caller.key_headers,
            path=tuple(sorted(self.path_params.items())),
            ignored=self.ignored,
        )

    def set_key(self) -> None:
        """Work out the cache key from the body."""
        self.material = self.material_of(self.body)
        self.key = cache_key(self.principal.tenant, self.material)

    @property
    def is_free(self) -> bool:
        """Whether the provider charges nothing for it, whatever it answers."""
        return self.dialect.is_free(self.asgi_scope["method"], self.path)

    def price(self, usage: Usage, answer: Json | None = None) -> int:
        """Return what an answer costs now, in 1e-9 USD; 0 where the price is unknown."""
        parts = self.parts
        if self.is_free:
            return 0
        model = self.model
        if not model and answer is not None and isinstance(answer.get("model"), str):
            model = answer["model"]
        return parts.prices.cost_nanos(self.dialect.name, model, usage, parts.clock.now()) or 0

    def record(
        self,
        outcome: Outcome,
        status: int,
        *,
        model: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_usd_nanos: int = 0,
        saved_usd_nanos: int = 0,
        upstream_us: int = 0,
        reason: str = "",
        served: Freshness | None = None,
        entry_key: bytes = b"",
    ) -> None:
        """Tell the meter how the request ended; `served` is how an answer from the cache stood.

        `entry_key` is the key of the entry that answered, where that is not the call's own.
        """
        self.is_recorded = True
        if self.admitted.held:
            self.parts.admission.settle(self.admitted, cost_usd_nanos)
        parts, caller, principal, endpoint = self.parts, self.caller, self.principal, self.endpoint
        is_own, asked_provider = outcome in _OWN, outcome in _ASKED_PROVIDER
        if not reason and served is None:
            reason = self.detail or (caller.directives.forward_reason if outcome is Outcome.MISS else "")
        parts.meter.record(
            UsageEvent(
                id=self.request_id,
                at_ms=int(parts.clock.now() * 1000),
                tenant_id=principal.tenant.id,
                api_key_id=principal.api_key_id,
                dialect=self.dialect.name,
                endpoint=endpoint.name if endpoint is not None else "pass",
                model=model or self.model,
                namespace=caller.directives.namespace or principal.namespace,
                outcome=outcome.value,
                status=status,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cost_usd_nanos=cost_usd_nanos,
                saved_usd_nanos=saved_usd_nanos,
                latency_us=0 if is_own else int((parts.clock.monotonic() - self.started) * 1e6),
                upstream_us=upstream_us,
                agent=caller.directives.agent,
                reason=reason,
                entry_key=(entry_key or self.key).hex(),
                freshness=served.value if served is not None else "",
                user_id=principal.user_id,
                requests=0 if is_own else 1,
                policy=self.policy.id if self.policy is not None and served is None else "",
                temperature_milli=temperature_milli(self.body) if asked_provider else NOT_TOLD,
                tags=_joined(caller.directives.tags, ",", TAGS_CHARS_MAX) if asked_provider else "",
                sources=_joined(caller.directives.sources, " ", SOURCES_CHARS_MAX) if asked_provider else "",
            )
        )

    def refuse(self, error: AgentCacheError) -> None:
        """Tell that a limit, a scope or a network kept the call out, and charge no limit for it."""
        self.is_recorded = True
        parts, principal, endpoint = self.parts, self.principal, self.endpoint
        parts.admission.give_back(self.admitted)
        parts.refusals.record(
            UsageEvent(
                id=self.request_id,
                at_ms=int(parts.clock.now() * 1000),
                tenant_id=principal.tenant.id,
                api_key_id=principal.api_key_id,
                dialect=self.dialect.name,
                endpoint=endpoint.name if endpoint is not None else "pass",
                model=self.model,
                namespace=self.namespace,
                outcome=Outcome.REFUSED.value,
                status=error.status,
                latency_us=int((parts.clock.monotonic() - self.started) * 1e6),
                agent=self.directives.agent,
                reason=error.code,
                user_id=principal.user_id,
            )
        )


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long an answer is kept, in seconds: its lifetime and the windows past it."""

    lifetime_seconds: float
    stale_while_revalidate_seconds: float = 0.0
    stale_if_error_seconds: float = 0.0


def keeping(settings: Settings, principal: Principal, policy: Policy | None, asked: float | None) -> Keeping:
    """Return for how long an answer is kept: as the caller asks, else the policy, the team, or the server has it."""
    usual = principal.lifetime_seconds or float(settings.default_ttl_seconds)
    if policy is None:
        return Keeping(asked or usual)
    return Keeping(
        asked or policy.lifetime_seconds or usual,
        policy.stale_while_revalidate_seconds,
        policy.stale_if_error_seconds,
    )


def header_text(text: str) -> bytes:
    """Return text as a header may hold it; characters beyond ASCII become question marks."""
    return text.encode("ascii", "replace")


def model_of(endpoint: Endpoint | None, body: Json) -> str:
    """Return the model that a request body names, or an empty string; never more than 200 characters."""
    model = body.get(endpoint.model_member) if endpoint is not None else None
    return model[:200] if isinstance(model, str) else ""


def temperature_milli(body: Json) -> int:
    """Return the temperature that a request names, as usage events have it."""
    found = temperature_of(body)
    return NOT_NAMED if found is None else int(max(0.0, min(found, 1000.0)) * 1000)


def _joined(items: Sequence[str], separator: str, chars_max: int) -> str:
    """Return as many whole items as fit."""
    text = separator.join(items)
    return text if len(text) <= chars_max else text[:chars_max].rpartition(separator)[0]


def estimated_cost(call: Call) -> int | None:
    """Return about the most that a call may cost, in 1e-9 USD; None where its price is unknown."""
    if call.is_free:
        return 0
    asked = [call.body.get(name) for name in _OUTPUT_LIMITS]
    output = max((number for number in asked if isinstance(number, int)), default=OUTPUT_TOKENS_MAX)
    # Three bytes a token: few texts have more tokens than that.
    usage = Usage(input_tokens=len(call.raw_body) // 3 + 1, output_tokens=max(0, output))
    return call.parts.prices.cost_nanos(call.dialect.name, call.model, usage, call.parts.clock.now())


def key_material(
    dialect: Dialect,
    endpoint: Endpoint,
    body: Json,
    *,
    namespace: str,
    bucket: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    path: tuple[tuple[str, str], ...] = (),
    ignored: tuple[tuple[str | int, ...], ...] = (),
) -> KeyMaterial:
    """Return what a request's key is made from; the one way, for the provider's routes and our own API alike."""
    kept = without_members(body, endpoint.ignored, endpoint.ignored_anywhere)
    if ignored:
        kept = without_paths(kept, ignored)
    return KeyMaterial(
        dialect=dialect.name,
        endpoint=endpoint.name,
        origin=dialect.upstream,
        namespace=namespace,
        bucket=bucket,
        headers=headers,
        path=path,
        body=kept,
        ignored=ignored,
    )
