"""Traces for OpenTelemetry, behind the extra `otel`: a span for each request, look-up, write and upstream call.

Spans are made by what is put around the gateway's parts. With tracing off nothing is put around anything, so it costs
nothing. A span names the route, never the path; it holds no prompt, answer, model, credential or cache key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

import agentcache
from agentcache.engine.entries import Entry, Lookup, Mark, Reach, Selector, Tenant
from agentcache.engine.stores.port import EntryStore, Put
from agentcache.gateway.asgi_types import ASGIApplication, ASGIScope, Message, Receive, Send
from agentcache.gateway.calls import Parts
from agentcache.gateway.known_hits import NoKnownHits
from agentcache.gateway.native.routes import ROUTES
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamResponse, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.logs import OncePer, get_logger
from agentcache.providers.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult
    from opentelemetry.trace import Span, Tracer

#: Spans leave once a second or as soon as so many wait; what exceeds the queue is dropped, and the product goes on.
EXPORT_EVERY_MS = 1000
SPANS_PER_EXPORT = 512
QUEUE_MAX = 4096
#: Of one export, and of the last one when the server stops.
EXPORT_SECONDS = 5.0
_TIMEOUTS = UpstreamTimeouts(connect=2.0, first_byte=EXPORT_SECONDS, idle=EXPORT_SECONDS, total=EXPORT_SECONDS)
_TRACES_PATH = "/v1/traces"
#: Asked for every few seconds by machines; their spans would be most of all spans.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})

_log = get_logger(__name__)


class TracingUnavailable(AgentCacheError):
    """AGENTCACHE_OTEL_ENDPOINT is set, but the packages that send traces are not installed.

    Run `pip install 'agentcache-server[otel]'`, or unset it.
    """

    code = "tracing_unavailable"

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()), param="AGENTCACHE_OTEL_ENDPOINT")


class Tracing(Protocol):
    """Puts spans around the gateway and what it asks."""

    def parts(self, parts: Parts) -> Parts:
        """Return the gateway's parts, with spans around what they do."""

    def application(self, application: ASGIApplication, dialects: Mapping[str, Dialect]) -> ASGIApplication:
        """Return an application that makes a span of every request."""

    async def close(self) -> None:
        """Send what is pending and stop."""


class NoTracing:
    """Leaves everything as it is."""

    def parts(self, parts: Parts) -> Parts:
        """Return the very same parts."""
        return parts

    def application(self, application: ASGIApplication, dialects: Mapping[str, Dialect]) -> ASGIApplication:
        """Return the very same application."""
        return application

    async def close(self) -> None:
        """Do nothing."""


def require_tracing(endpoint: str | None) -> None:
    """Raise `TracingUnavailable` when traces are asked for and cannot be sent."""
    if endpoint is not None:
        try:
            found = [find_spec(name) for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.common")]
        except ModuleNotFoundError:
            found = [None]
        if None in found:
            raise TracingUnavailable


def open_tracing(endpoint: str | None) -> Tracing:
    """Return the tracing that the settings ask for; raises `TracingUnavailable`."""
    if endpoint is None:
        return NoTracing()
    require_tracing(endpoint)
    return OTLPTracing(endpoint)


class OTLPTracing:
    """Sends spans to an OTLP/HTTP collector from a thread of its own."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

        # Everything is said here, so that OTEL_* variables of the environment do not steer the server.
        resource = Resource({"service.name": "agentcache", "service.version": agentcache.__version__})
        self._provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _exporter(endpoint),
                max_queue_size=QUEUE_MAX,
                schedule_delay_millis=EXPORT_EVERY_MS,
                max_export_batch_size=SPANS_PER_EXPORT,
                export_timeout_millis=EXPORT_SECONDS * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("agentcache", agentcache.__version__)

    def parts(self, parts: Parts) -> Parts:
        """Return the parts with spans around the entry store and the upstream client."""
        entries = cast("EntryStore", _TracedEntries(parts.entries, self._tracer))
        upstream = cast("UpstreamClient", _TracedUpstream(parts.upstream, self._tracer))
        # A hit that is known by its bytes would have no span.
        return replace(parts, entries=cast("Any", entries), upstream=upstream, known_hits=NoKnownHits())

    def application(self, application: ASGIApplication, dialects: Mapping[str, Dialect]) -> ASGIApplication:
        """Return an application that makes a span of every request, continuing the caller's trace."""
        return _TracedApplication(application, dialects, self._tracer)

    async def close(self) -> None:
        """Send what is pending, for at most `EXPORT_SECONDS`, and stop."""
        await asyncio.to_thread(self._provider.shutdown)


def route_of(dialects: Mapping[str, Dialect], method: str, path: str) -> str:
    """Return the route of a request in low cardinality: parameters stay names, unknown rests become `*`."""
    for prefix in ("/api/v1/", "/v1/"):
        if path.startswith(prefix):
            path = "/openai/v1/" + path.removeprefix(prefix)
    first, _, rest = path[1:].partition("/")
    dialect = dialects.get(first)
    if dialect is not None:
        found = dialect.find_endpoint(method, f"/{rest}")
        return f"/{first}{found[0].path}" if found is not None else f"/{first}/*"
    for route in ROUTES:
        if route.pattern.fullmatch(path):
            return route.path
    return path if path == "/api/openapi.json" else "/*"


@contextmanager
def _span(tracer: Tracer, name: str) -> Iterator[Span | None]:
    """Make a span inside the current one; outside of any (a health check, a sweep) there is none."""
    from opentelemetry.trace import SpanKind, StatusCode, get_current_span

    if not get_current_span().get_span_context().is_valid:
        yield None
        return
    kind = SpanKind.CLIENT if name == "upstream" else SpanKind.INTERNAL
    # Exceptions are told by their code: their texts are for the caller, and others' texts may quote anything.
    with tracer.start_as_current_span(name, kind=kind, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(StatusCode.ERROR, _code_of(error))
            raise


def _code_of(error: BaseException) -> str:
    return error.code if isinstance(error, AgentCacheError) else type(error).__name__


class _TracedApplication:
    def __init__(self, application: ASGIApplication, dialects: Mapping[str, Dialect], tracer: Tracer) -> None:
        self._application = application
        self._dialects = dialects
        self._tracer = tracer

    async def __call__(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        if asgi_scope["path"] in _UNTRACED:
            await self._application(asgi_scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in asgi_scope["headers"]}
        parent = TraceContextTextMapPropagator().extract({"traceparent": given.get("traceparent", "")})
        method, route = asgi_scope["method"], route_of(self._dialects, asgi_scope["method"], asgi_scope["path"])
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def traced_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_start(span, message["status"], message["headers"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._application(asgi_scope, receive, traced_send)
            except BaseException as error:
                span.set_status(StatusCode.ERROR, _code_of(error))
                raise


def _note_start(span: Span, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    span.set_attribute("http.response.status_code", status)
    for name, value in headers:
        if name == b"cache-status":
            # `hit`, `fwd=miss`, `collapsed` …; the key stays out.
            said = [part.strip() for part in value.decode("latin-1").split(";")[1:]]
            span.set_attribute("agentcache.cache_status", [part for part in said if not part.startswith("key=")])
        elif name == b"x-agentcache-request-id":
            span.set_attribute("agentcache.request_id", value.decode("latin-1"))
        elif name == b"x-agentcache-error":
            span.set_attribute("error.type", value.decode("latin-1"))


class _TracedEntries:
    """An entry store with spans around look-ups, writes and removals; everything else is the store's own."""

    def __init__(self, inner: EntryStore, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look up."""
        with _span(self._tracer, "cache.get") as span:
            found = await self._inner.get(tenant, key)
            if span is not None:
                span.set_attribute("agentcache.found", found.entry is not None)
            return found

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store."""
        with _span(self._tracer, "cache.put") as span:
            outcome = await self._inner.put(tenant, entry, since)
            if span is not None:
                span.set_attribute("agentcache.put", outcome.value)
                span.set_attribute("agentcache.body_bytes", len(entry.body))
            return outcome

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove."""
        with _span(self._tracer, "cache.invalidate") as span:
            removed = await self._inner.invalidate(tenant, selector)
            if span is not None:
                span.set_attribute("agentcache.removed", removed)
            return removed

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Remove or mark stale."""
        with _span(self._tracer, "cache.invalidate") as span:
            reach = await self._inner.withdraw(tenant, selector, soft=soft)
            if span is not None:
                span.set_attribute("agentcache.removed", 0 if soft else reach.entries)
                span.set_attribute("agentcache.marked_stale", reach.entries if soft else 0)
            return reach


class _TracedUpstream:
    """An upstream client with a span from the sending of each request to the end of its answer."""

    def __init__(self, inner: UpstreamClient, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(
        self,
        method: str,
        url: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes],
        timeouts: UpstreamTimeouts,
    ) -> UpstreamResponse:
        """Send, and return the answer once its head is here."""
        from opentelemetry.trace import SpanKind, StatusCode, get_current_span

        if not get_current_span().get_span_context().is_valid:
            return await self._inner.send(method, url, headers, body, timeouts)
        place = {"http.request.method": method, "server.address": urlsplit(url).hostname or ""}
        span = self._tracer.start_span("upstream", kind=SpanKind.CLIENT, attributes=place)
        try:
            response = await self._inner.send(method, url, headers, body, timeouts)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, _code_of(error))
            span.end()
            raise
        span.set_attribute("http.response.status_code", response.status)
        span.add_event("head")
        return cast("UpstreamResponse", _TracedResponse(response, span))


class _TracedResponse:
    """An upstream's answer that ends its span when it is given back."""

    def __init__(self, inner: UpstreamResponse, span: Span) -> None:
        self._inner = inner
        self._span = span
        self.status = inner.status
        self.headers = inner.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it comes."""
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        from opentelemetry.trace import StatusCode

        try:
            async for piece in self._inner.chunks():
                yield piece
        except AgentCacheError as error:
            self._span.set_status(StatusCode.ERROR, error.code)
            raise
        self._span.end()

    async def aread(self) -> bytes:
        """Return the rest of the body in one piece."""
        return b"".join([piece async for piece in self.chunks()])

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._inner.aclose()
        if self._span.is_recording():
            self._span.end()


def _exporter(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    url = endpoint if endpoint.endswith(_TRACES_PATH) else endpoint.rstrip("/") + _TRACES_PATH
    headers = [(b"content-type", b"application/x-protobuf"), (b"user-agent", b"AgentCache")]
    complain = OncePer(_log.warning, 60.0)

    async def post(body: bytes) -> int:
        # A client for each export: it lives on the exporting thread's own short loop.
        client = UpstreamClient(1)
        try:
            response = await client.send("POST", url, headers, body, _TIMEOUTS)
            await response.aread()
            return response.status
        finally:
            await client.aclose()

    class _Exporter(SpanExporter):
        """Through the one door to the outside; the packages' own exporter would open another."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            reason = "refused"
            try:
                if 200 <= asyncio.run(post(encode_spans(spans).SerializeToString())) < 300:
                    return SpanExportResult.SUCCESS
            except AgentCacheError as error:
                reason = error.code
            complain("traces_not_sent", reason=reason, count=len(spans))
            return SpanExportResult.FAILURE

    return _Exporter()
