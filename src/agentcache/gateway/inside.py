"""Calls that the server makes for a team: through the same key, policies, limits, flights and storing as a caller's call.

Nobody reads the answer, so what comes back is what became of the call; of a question, whose answer is wanted and not stored,
that comes back too. Each is one usage event of its own kind, which is no request of anybody's month, and money all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentcache.engine.entries import Entry, Selector
from agentcache.engine.freshness import Freshness, freshness
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.gateway.admission import Pass
from agentcache.gateway.asgi_types import Message
from agentcache.gateway.callers import RawHeaders, inside_caller
from agentcache.gateway.calls import Call, Parts
from agentcache.gateway.embeddings import Item, answer_embeddings, narrow_to_due
from agentcache.gateway.ports import Outcome, Principal
from agentcache.gateway.proxy import answer, look_up, prepare
from agentcache.kit.egress.upstream import UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError, BadRequest, Unavailable
from agentcache.kit.ids import new_id
from agentcache.providers.dialect import Dialect, Endpoint, Json, Kind, Usage

#: What limits and the usage page call it.
AGENT = "prewarm"
#: What limits and the usage page call the judge of near questions.
JUDGE_AGENT = "judge"
#: An answer of one word that is not here by then is not worth waiting for.
QUESTION_TIMEOUTS = UpstreamTimeouts(connect=5.0, first_byte=30.0, idle=10.0, total=45.0)
#: Of an answer to a question no more is kept; what is longer is no answer of one word.
_ANSWER_BYTES_MAX = 64 * 1024
#: Failures after which nobody can tell whether the provider billed something.
_MAY_HAVE_COST = frozenset({"upstream_timeout", "upstream_invalid", "upstream_unreachable", "upstream_cut"})
#: How long a team's settings of near questions are taken to hold.
_SEMANTICS_SECONDS = 5.0
#: How a call ends that brought an answer, and a question that did.
_STORED = frozenset({Outcome.MISS, Outcome.COALESCED, Outcome.EXACT})
_PASSED_ON = frozenset({Outcome.BYPASS})
#: Kinds of endpoints whose answers can be fetched before anybody asks.
KINDS = frozenset({Kind.ANSWER, Kind.BINARY, Kind.EMBEDDINGS})
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: Parts of a body whose tokens have nothing to do with their bytes.
_NOT_TEXT = (b"image", b"audio", b"video", b"file", b"document")
#: What a chat template adds to each message, at most.
_TOKENS_AROUND = 64
#: Between the time that an entry has as when it was stored and the store's own note of it, at most.
_STORING_SECONDS = 2.0


#: Team id -> settings of near questions by namespace. Raises `Unavailable`.
SemanticsOf = Callable[[str], Awaitable[Mapping[str, SemanticSettings]]]


class NotPrewarmable(BadRequest):
    """Answers of this endpoint cannot be fetched ahead: it is not one that is cached, or its answers come later."""

    code = "not_prewarmable"


@dataclass(frozen=True, slots=True)
class InsideRequest:
    """A request to a provider's route: the provider's own path from `/v1` on, headers without credentials, JSON body."""

    dialect: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """How a request stands before it is made; money is 1e-9 USD."""

    call: InsideCall
    is_fresh: bool
    #: Why its answer would not be stored; "" where it would.
    uncacheable: str
    #: About what it costs: what the stored answer cost, else what so many bytes and tokens cost; None without a price.
    likely_usd_nanos: int | None
    #: What it costs at the very most; None without a price.
    most_usd_nanos: int | None
    #: Whether nothing bounds the answer, so that `most_usd_nanos` is no bound.
    is_unbounded: bool = False

    @property
    def key(self) -> str:
        """The cache key, hexadecimal; "" for what is not stored."""
        return self.call.key.hex()


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a call; money is 1e-9 USD."""

    status: int
    #: Whether a whole good answer came back.
    is_answered: bool
    #: Words of `Cache-Status` `detail`, or an error's code.
    reason: str = ""
    cost_usd_nanos: int = 0
    #: Whether the provider may have billed something that nobody told us.
    may_have_cost: bool = False
    retry_after: str = ""
    #: Of a question: what the provider sent, as it came.
    answer: bytes = b""


@dataclass(slots=True)
class InsideCall(Call):
    """A call whose outcome is kept beside its usage event."""

    #: What its usage event is of.
    kind: Outcome = Outcome.PREWARM
    #: Pieces of the answer, where that is wanted.
    answer: list[bytes] | None = None
    outcome: Outcome | None = None
    cost_usd_nanos: int = 0
    #: Why the provider was asked, and why the answer was not kept if it was not.
    why: str = ""
    reply_headers: dict[str, str] = field(default_factory=dict)

    def record(self, outcome: Outcome, status: int, *, cost_usd_nanos: int = 0, **told: Any) -> None:
        """Tell the meter, as what nobody waited for."""
        self.outcome, self.cost_usd_nanos, self.why = outcome, cost_usd_nanos, told.get("reason", "")
        # What is asked ahead saves nothing yet, and stands nowhere.
        told = {name: value for name, value in told.items() if name not in ("saved_usd_nanos", "served")}
        # Not `super()`: a dataclass with slots is made twice.
        Call.record(self, self.kind, status, cost_usd_nanos=cost_usd_nanos, **told)


class Inside:
    """Makes calls for teams. Lives on the event loop of its parts."""

    def __init__(self, parts: Parts, semantics_of: SemanticsOf | None = None) -> None:
        """Without `semantics_of` no question is learned of what is answered."""
        self._parts = parts
        self._semantics_of = semantics_of
        self._semantics: dict[str, tuple[float, Mapping[str, SemanticSettings]]] = {}

    @property
    def dialects(self) -> Mapping[str, Dialect]:
        """The providers of this server."""
        return self._parts.dialects

    async def stand(
        self,
        principal: Principal,
        request: InsideRequest,
        credential: str,
        *,
        output_tokens: int = 0,
        outdated_since: float | None = None,
    ) -> Standing:
        """Return how a request stands in the cache and what it may cost; raises `BadRequest` for one that cannot be made.

        `output_tokens` is what an answer is taken to have at most when its request does not say; 0 for the model's own bound.
        An answer that was stored before `outdated_since` (Unix seconds) is not fresh, whatever its lifetime.
        """
        principal = await self._with_semantics(principal)
        call = self._call(principal, request, credential, AGENT)
        call.raw_body = request.body
        if call.endpoint is not None and call.endpoint.kind is Kind.EMBEDDINGS:
            return await self._stand_of_items(call, outdated_since)
        prepare(call)
        uncacheable = call.detail or ("requested" if call.directives.is_bypass else "")
        entry = None if uncacheable else await look_up(call)
        is_fresh = (
            entry is not None
            and freshness(entry.meta, self._parts.clock.now()) is Freshness.FRESH
            and (outdated_since is None or entry.meta.stored_at > outdated_since)
        )
        if entry is not None and not is_fresh:
            _insist(call)
        most, is_unbounded = self._most(call, output_tokens)
        likely = (entry.meta.cost_usd_nanos if entry is not None else 0) or self._likely(call)
        if likely is not None and most is not None and not is_unbounded:
            likely = min(likely, most)
        return Standing(call, is_fresh, uncacheable, likely, most, is_unbounded)

    async def _stand_of_items(self, call: InsideCall, outdated_since: float | None) -> Standing:
        """Say how embeddings stand, which are cached one by one: only those that are not fresh are asked for."""
        due = await narrow_to_due(call, outdated_since)
        uncacheable = call.detail or ("requested" if call.directives.is_bypass else "")
        if due and not uncacheable:
            _insist(call)
        # They have no output; no token of the input is shorter than a byte.
        most = self._price(call, len(call.raw_body), 0)
        likely = self._likely_of_items(call, due)
        if likely is not None and most is not None:
            likely = min(likely, most)
        return Standing(call, not due and not uncacheable, uncacheable, likely, most)

    def stand_question(self, principal: Principal, request: InsideRequest, credential: str) -> Standing:
        """Return how a question of text alone stands whose answer is wanted and not stored; the cache takes no part in it.

        Raises `BadRequest` for one that cannot be asked.
        """
        off = (("x-agentcache-mode", "off"),)
        call = self._call(principal, replace(request, headers=(*request.headers, *off)), credential, JUDGE_AGENT)
        call.parts = replace(self._parts, timeouts=QUESTION_TIMEOUTS)
        call.kind, call.answer = Outcome.JUDGE, []
        call.raw_body = request.body
        prepare(call)
        most, is_unbounded = self._most(call, 0, is_text=True)
        return Standing(call, False, "requested", self._likely(call), most, is_unbounded)

    async def find_entry(self, principal: Principal, key: bytes) -> Entry | None:
        """Return a stored answer of the team, however old. Raises `StoreUnavailable`."""
        return (await self._parts.entries.get(principal.tenant, key)).entry

    async def is_in_use(self, principal: Principal, key: bytes) -> bool:
        """Say whether somebody has asked for an answer since it was stored. Raises `StoreUnavailable`."""
        page = await self._parts.entries.list_entries(principal.tenant, Selector(keys=(key,)), limit=1)
        # Storing is noted as a use, a moment after the time that the entry has of it.
        return any(row.last_used_at > row.meta.stored_at + _STORING_SECONDS for row in page.rows)

    async def ask(self, standing: Standing) -> Told:
        """Make the call. Raises nothing but what ends the task; every failure is told."""
        call = standing.call
        # Tried again, it is another event.
        call.request_id, call.is_recorded, call.outcome, call.cost_usd_nanos = new_id(), False, None, 0
        call.started = self._parts.clock.monotonic()
        call.reply_headers = {}
        call.detail = ""
        if call.answer is not None:
            call.answer = []
        call.receive, call.send = _body_then_silence(call.raw_body), _noting(call)
        try:
            await self._admit(call)
            is_of_items = call.endpoint is not None and call.endpoint.kind is Kind.EMBEDDINGS
            await (answer_embeddings if is_of_items else answer)(call)
        except AgentCacheError as error:
            if not call.is_recorded:
                call.record(Outcome.ERROR, error.status, reason=error.code)
            # Nothing was sent for what we refuse ourselves.
            return Told(error.status, False, error.code, call.cost_usd_nanos, error.code in _MAY_HAVE_COST)
        status = int(call.reply_headers.get(":status", "0"))
        is_good = 200 <= status < 300
        is_answered = is_good and call.outcome in (_STORED if call.answer is None else _PASSED_ON)
        return Told(
            status,
            is_answered,
            _reason(call, status, is_answered=is_answered),
            call.cost_usd_nanos,
            may_have_cost=is_good and not is_answered,
            retry_after=call.reply_headers.get("retry-after", ""),
            answer=b"".join(call.answer or ()),
        )

    async def flush(self) -> None:
        """Put the usage events so far, and what is learned of the answers, where a kill cannot reach them."""
        await self._parts.meter.flush()
        await self._parts.semantic.settle()

    async def _with_semantics(self, principal: Principal) -> Principal:
        """Return a team with its settings of near questions, as a server has them with a key: a few seconds old at most."""
        if self._semantics_of is None:
            return principal
        tenant_id, now = principal.tenant.id, self._parts.clock.monotonic()
        until, semantics = self._semantics.get(tenant_id, (0.0, {}))
        if until <= now:
            try:
                semantics = await self._semantics_of(tenant_id)
            except Unavailable:
                # What is not learned now is at the next answer; the call is made all the same.
                return principal
            self._semantics = {known: one for known, one in self._semantics.items() if one[0] > now}
            self._semantics[tenant_id] = now + _SEMANTICS_SECONDS, semantics
        return replace(principal, semantics=semantics) if semantics else principal

    async def _admit(self, call: InsideCall) -> None:
        admitted = self._parts.admission.admit(call.principal, call.directives.agent)
        passed = admitted if isinstance(admitted, Pass) else await admitted
        self._parts.admission.give_back(passed)
        if passed.refusal is not None:
            raise passed.refusal
        # No request of anybody's month, but money all the same.
        call.admitted = Pass(budgets=passed.budgets)

    def _call(self, principal: Principal, request: InsideRequest, credential: str, agent: str) -> InsideCall:
        dialect = self._parts.dialects[request.dialect]
        endpoint, path_params = endpoint_of(dialect, request.path)
        raw: RawHeaders = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        raw = [*raw, (b"content-type", b"application/json"), (b"x-agentcache-agent", agent.encode())]
        return InsideCall(
            parts=self._parts,
            asgi_scope={"type": "http", "method": "POST", "path": request.path, "headers": raw, "query_string": b""},
            receive=_body_then_silence(request.body),
            send=_nowhere,
            request_id=new_id(),
            started=self._parts.clock.monotonic(),
            dialect=dialect,
            path=request.path,
            caller=inside_caller(dialect, raw, credential),
            principal=principal,
            endpoint=endpoint,
            path_params=path_params,
        )

    def _price(self, call: Call, input_tokens: int, output_tokens: int) -> int | None:
        prices, now, name = self._parts.prices, self._parts.clock.now(), call.dialect.name
        usages = (
            Usage(input_tokens, output_tokens),
            Usage(input_tokens, output_tokens, cache_write_tokens=input_tokens),
        )
        # What the provider keeps of a prompt may cost more than reading it does.
        costs = [prices.cost_nanos(name, call.model, usage, now) for usage in usages]
        known = [cost for cost in costs if cost is not None]
        return max(known) if known else None

    def _likely(self, call: Call) -> int | None:
        prices, output = self._parts.prices, _asked_output(call.body)
        usage = Usage(len(call.raw_body) // 4 + 1, min(output or 512, 512) * _answers(call.body))
        return prices.cost_nanos(call.dialect.name, call.model, usage, self._parts.clock.now())

    def _likely_of_items(self, call: Call, due: Sequence[Item]) -> int | None:
        costs = [item.entry.meta.cost_usd_nanos if item.entry is not None else 0 for item in due]
        # Tokens of text are about four bytes long.
        tokens = sum(
            len(item.content.encode()) // 4 + 1 if isinstance(item.content, str) else len(item.content)
            for item, cost in zip(due, costs, strict=True)
            if not cost
        )
        prices, now = self._parts.prices, self._parts.clock.now()
        rest = prices.cost_nanos(call.dialect.name, call.model, Usage(tokens, 0), now) if tokens else 0
        return None if rest is None else sum(costs) + rest

    def _most(self, call: Call, output_tokens: int, *, is_text: bool = False) -> tuple[int | None, bool]:
        context = self._parts.prices.context_tokens(call.dialect.name, call.model)
        output = _asked_output(call.body) or output_tokens or context
        # No token is shorter than a byte.
        given = len(call.raw_body) + _TOKENS_AROUND
        if not is_text and any(word in call.raw_body for word in _NOT_TEXT):
            given = max(given, context or 0)
        most = self._price(call, given, (output or 0) * _answers(call.body))
        return most, output is None


def _insist(call: Call) -> None:
    """A new answer is what it is about: no stale one may stand in, and no flight that began before."""
    directives = replace(call.caller.directives, reads=False, forward_reason="request")
    call.caller = replace(call.caller, directives=directives)


def endpoint_of(dialect: Dialect, path: str) -> tuple[Endpoint, dict[str, str]]:
    """Return what a path of a provider leads to. Raises `NotPrewarmable`."""
    found = dialect.find_endpoint("POST", path)
    if found is None or found[0].kind not in KINDS:
        raise NotPrewarmable(f"Answers of POST {path[:200]} at {dialect.name} cannot be fetched ahead.", param="path")
    return found


def _asked_output(body: Json) -> int | None:
    asked = [body.get(name) for name in _OUTPUT_LIMITS]
    return max((number for number in asked if isinstance(number, int) and number > 0), default=None)


def _answers(body: Json) -> int:
    asked = [body.get(name) for name in ("n", "best_of")]
    return max((number for number in asked if isinstance(number, int) and number > 0), default=1)


def _reason(call: InsideCall, status: int, *, is_answered: bool) -> str:
    """Return why an answer was not kept, or why there is none; "" for one that is stored."""
    if is_answered:
        # After why the provider was asked it is said why the answer was not kept.
        return call.why.partition("; ")[2][:64]
    return "answer_cut" if 200 <= status < 300 else "provider_refused"


def _noting(call: InsideCall) -> Any:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.reply_headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            call.reply_headers[":status"] = str(message["status"])
        elif call.answer is not None and sum(map(len, call.answer)) < _ANSWER_BYTES_MAX:
            call.answer.append(message.get("body", b""))

    return send


async def _nowhere(_message: Message) -> None:
    """Take an answer that nobody reads."""


def _body_then_silence(body: bytes) -> Any:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            # Nobody hangs up.
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
