"""Hits that are known by the bytes of their request.

Programs send the same bytes again and again. When such a request was a hit, the next one like it needs no parser, no
task and no reading of headers and body. What follows from the bytes alone is remembered; what may have changed since
(the key's verdict, the limits, the entry and its freshness) is asked each time, of the very parts that every other
request asks. Whatever they cannot tell on the spot sends the request the usual way.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentcache.engine.entries import Entry, Tenant
from agentcache.engine.freshness import freshness, may_serve
from agentcache.engine.stores.port import CurrentEntries
from agentcache.gateway.admission import Admission
from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.limit_errors import LimitReached
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import Outcome, Principal, UsageEvent
from agentcache.gateway.replies import HitHeaders, form_header
from agentcache.kit.clock import Clock
from agentcache.kit.ids import new_id

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call

#: Where a server leaves the bytes of a request in the ASGI scope: `RequestBytes`.
SCOPE_KEY: Final = "agentcache.request_bytes"
#: What is remembered, in bytes of requests and answers, and the largest of either.
KNOWN_BYTES_MAX = 32 << 20
REQUEST_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 64 * 1024
#: What a request takes in memory besides its bytes and its answer's.
_READING_BYTES = 2000
_HEADS_MAX = 2048


class RequestBytes(NamedTuple):
    """A whole request as it came; `split` is where its second piece began, 0 when it came in one."""

    raw: bytes
    split: int


@dataclass(slots=True, eq=False)
class KnownHit:
    """What follows from a request's bytes; from `headers` on, what its answer is at this moment."""

    api_key: str
    principal: Principal
    tenant: Tenant
    entry: Entry
    #: As this caller asked for it, which need not be as it was stored.
    body: bytes
    #: In place of the first header, where the answer was stored in the other form.
    form: tuple[bytes, bytes] | None
    dialect: str
    endpoint: str
    model: str
    namespace: str
    agent: str
    max_age: int | None
    entry_key: str
    size: int
    #: All but the request id and the length; the same list for as long as nothing in it changes.
    headers: HeaderList = field(default_factory=list)
    request_id: bytes = b""
    #: `RateLimit` headers, which differ from answer to answer.
    limits: HeaderList = field(default_factory=list)
    #: The entry's own headers, from which `headers` are made.
    stored_headers: HeaderList | None = None
    #: For the server: the form that it gave `headers`, and whatever that follows from.
    rendered: Any = None

    @property
    def status(self) -> int:
        """The answer's status."""
        return self.entry.meta.status


class NoKnownHits:
    """Knows no hit, where every request has to go the usual way."""

    def learn(self, call: Call, entry: Entry, body: bytes) -> None:
        """Do nothing."""

    def begins(self, head: bytes) -> bool:
        """Say False."""
        return False

    def answer(self, request: bytes) -> KnownHit | None:
        """Return None."""
        return None


class KnownHits:
    """Answers requests by their bytes. Lives on the event loop; nothing in it waits."""

    def __init__(
        self,
        entries: CurrentEntries,
        authenticator: Authenticator,
        admission: Admission,
        meter: Meter,
        hit_headers: HitHeaders,
        clock: Clock,
        bytes_max: int = KNOWN_BYTES_MAX,
    ) -> None:
        self._entries = entries
        self._authenticator = authenticator
        self._admission = admission
        self._meter = meter
        self._hit_headers = hit_headers
        self._clock = clock
        self._known: OrderedDict[bytes, KnownHit] = OrderedDict()
        self._heads: set[bytes] = set()
        self._bytes = 0
        self._bytes_max = bytes_max
        self._request_prefix = new_id() + "-"
        self._requests = count(1)

    def learn(self, call: Call, entry: Entry, body: bytes) -> None:
        """Remember that this request was answered from `entry` with `body`, unless its caller's address decided, too."""
        request: RequestBytes | None = call.asgi_scope.get(SCOPE_KEY)
        principal = call.principal
        if (
            request is None
            or principal.networks is not None
            or len(request.raw) > REQUEST_BYTES_MAX
            or len(body) > ANSWER_BYTES_MAX
        ):
            return
        size = len(request.raw) + len(body) + _READING_BYTES
        if body is not entry.body:
            size += len(entry.body)
        directives, wants_stream = call.directives, call.wants_stream
        former = self._known.pop(request.raw, None)
        self._bytes += size - (former.size if former is not None else 0)
        self._known[request.raw] = KnownHit(
            api_key=call.caller.api_key,
            principal=principal,
            tenant=principal.tenant,
            entry=entry,
            body=body,
            form=form_header(wants_stream=wants_stream) if wants_stream != entry.meta.streamed else None,
            dialect=call.dialect.name,
            endpoint=call.endpoint.name if call.endpoint is not None else "pass",
            model=entry.meta.model or call.model,
            namespace=call.namespace,
            agent=directives.agent,
            max_age=directives.max_age,
            entry_key=entry.key.hex(),
            size=size,
        )
        while self._bytes > self._bytes_max:
            self._bytes -= self._known.popitem(last=False)[1].size
        if request.split:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads.add(request.raw[: request.split])

    def begins(self, head: bytes) -> bool:
        """Say whether a request that was a hit began with these bytes, as a piece of its own."""
        return head in self._heads

    def answer(self, request: bytes) -> KnownHit | None:
        """Return the answer, recorded and ready to be sent; None when the request has to go the usual way."""
        known = self._known.get(request)
        if known is None:
            return None
        clock, entry = self._clock, known.entry
        started, now, meta = clock.monotonic(), clock.now(), entry.meta
        if (
            self._authenticator.recent(known.api_key) is not known.principal
            or not may_serve(meta, now, max_age=known.max_age)
            or not self._entries.is_current(known.tenant, entry)
        ):
            return None
        try:
            admitted = self._admission.admit_at_once(known.principal, known.agent)
        except LimitReached:
            # Nothing was charged; the usual way refuses it in the caller's dialect.
            return None
        if admitted is None:
            return None
        request_id = self._request_prefix + format(next(self._requests), "x")
        stored_headers = self._hit_headers.of(entry, now)
        if stored_headers is not known.stored_headers:
            known.stored_headers = stored_headers
            known.headers = stored_headers if known.form is None else [known.form, *stored_headers[1:]]
        known.request_id = request_id.encode()
        known.limits = admitted.headers
        self._meter.record(
            UsageEvent(
                id=request_id,
                at_ms=int(now * 1000),
                tenant_id=known.tenant.id,
                api_key_id=known.principal.api_key_id,
                dialect=known.dialect,
                endpoint=known.endpoint,
                model=known.model,
                namespace=known.namespace,
                outcome=Outcome.EXACT.value if now < meta.expires_at else Outcome.STALE.value,
                status=meta.status,
                input_tokens=meta.input_tokens,
                output_tokens=meta.output_tokens,
                saved_usd_nanos=meta.cost_usd_nanos,
                latency_us=int((clock.monotonic() - started) * 1e6),
                agent=known.agent,
                entry_key=known.entry_key,
                freshness=freshness(meta, now).value,
                user_id=known.principal.user_id,
            )
        )
        return known
