"""Wiring: the only module that knows both planes. One ASGI application serves the gateway and the pages."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.app import Gateway
from agentcache.gateway.asgi_types import ASGIApplication, ASGIScope, Receive, Send
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.building import build_parts
from agentcache.gateway.calls import Parts
from agentcache.gateway.health import Health
from agentcache.gateway.kept_requests import RequestSpool, requests_dir
from agentcache.gateway.known_hits import KnownHits, NoKnownHits
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.semantic.building import running_semantic
from agentcache.gateway.tracing import open_tracing
from agentcache.gateway.usage_spool import UsageSpool, spool_dir
from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.kit.logs import configure_logging, get_logger
from agentcache.settings import Settings

if TYPE_CHECKING:
    from agentcache.jobs.database import DatabaseThreads

_log = get_logger(__name__)


class Application:
    """The product as one ASGI application. Opens what it needs in the lifespan, on the server's own event loop."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._server: _Server | None = None
        self._drain: asyncio.Task[None] | None = None

    async def __call__(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        server = self._server
        if asgi_scope["type"] == "http" and server is not None:
            if server.gateway.owns(asgi_scope["path"]):
                await server.data_plane(asgi_scope, receive, send)
            else:
                await server.control_plane(asgi_scope, receive, send)
        elif asgi_scope["type"] == "lifespan":
            await self._live(receive, send)
        elif asgi_scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    @property
    def known_hits(self) -> KnownHits | NoKnownHits | None:
        """What the server may answer by the bytes of a request; None before the start and after the end."""
        return self._server.parts.known_hits if self._server is not None else None

    def begin_drain(self, seconds: float) -> None:
        """Let upstream calls in progress end within `seconds`; what is left then ends in an error event."""
        if self._server is not None and self._drain is None:
            self._server.health.is_stopping = True
            # A second is kept for the readers to be told.
            self._drain = asyncio.get_running_loop().create_task(
                self._server.parts.flights.drain(max(0.0, seconds - 1.0))
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            try:
                self._server = await stack.enter_async_context(open_server(self._settings, self._clock))
            except Exception as error:  # noqa: BLE001 - whatever it is, the server must be told that it cannot start
                _log.exception("start_failed")
                await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                return
            # What start-up made stays for good: the garbage collector need not walk it again and again.
            gc.collect()
            gc.freeze()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            if self._drain is not None:
                await self._drain
            self._server = None
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(slots=True)
class _Server:
    parts: Parts
    gateway: Gateway
    #: The gateway, inside a span for each request where traces are wanted.
    data_plane: ASGIApplication
    health: Health
    control_plane: Any


@contextlib.asynccontextmanager
async def open_server(settings: Settings, clock: Clock) -> AsyncIterator[_Server]:
    """Build the server's parts and release them in reverse order."""
    # Django has to be configured before any module with models is imported, so these imports are late.
    from agentcache.web.project import configure

    configure(settings)
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.queue import DatabaseJobQueue
    from agentcache.quotas.limit_book import DjangoLimitBook
    from agentcache.web.asgi import get_control_plane_app
    from agentcache.web.directory import open_directory

    async with contextlib.AsyncExitStack() as stack:
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        threads = DatabaseThreads()
        stack.callback(threads.close)
        stack.push_async_callback(_close_pages)
        directory = open_directory(settings, threads)
        metrics, meter = _open_meter(settings, clock, stack)
        stores = open_stores(settings, clock)
        stack.push_async_callback(stores.close)
        upstream = UpstreamClient(settings.upstream_max_connections)
        stack.push_async_callback(upstream.aclose)
        kept_requests = RequestSpool(requests_dir(settings.data_dir), clock).start()
        stack.push_async_callback(kept_requests.close)
        semantic = await stack.enter_async_context(running_semantic(settings, clock, stores.entries, meter))
        tracing = open_tracing(settings.otel_endpoint)
        stack.push_async_callback(tracing.close)
        parts = build_parts(
            settings,
            clock,
            stores=stores,
            upstream=upstream,
            meter=meter,
            authenticator=Authenticator(directory, clock),
            jobs=DatabaseJobQueue(threads, clock),
            limits=DjangoLimitBook(threads),
            kept_requests=kept_requests,
            semantic=semantic,
        )
        stack.callback(parts.refusals.close)
        stack.push_async_callback(parts.admission.close)
        parts = tracing.parts(parts)
        stack.push_async_callback(parts.flights.drain, 0.0)
        # A tenth of a second of reading, which the first priced call would otherwise wait for.
        await asyncio.to_thread(parts.prices.load)
        health = Health(parts, directory, metrics)
        gateway = Gateway(parts, _native_api(parts, threads), health)
        yield _Server(
            parts,
            gateway,
            tracing.application(gateway, parts.dialects),
            health,
            get_control_plane_app(settings, health.ready),
        )


async def _close_pages() -> None:
    """Release what pages have opened in this process."""
    from agentcache.dashboard.entry_access import close_entry_access

    await asyncio.to_thread(close_entry_access)


def _native_api(parts: Parts, threads: DatabaseThreads) -> NativeAPI:
    """Return the native API with what the control plane does for it."""
    from agentcache.analytics.usage_totals import DjangoUsageTotals
    from agentcache.prewarm.prewarmer import DjangoPrewarmer
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.web.openapi import with_control_plane

    settings = parts.settings
    prewarmer = DjangoPrewarmer(threads, ServerSecrets.of(settings), requests_dir(settings.data_dir))
    return NativeAPI(parts, DjangoUsageTotals(threads), with_control_plane, prewarmer)


def _open_meter(settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack) -> tuple[Metrics, Meter]:
    metrics = Metrics(settings.run_dir)
    stack.callback(metrics.close)
    metrics.adopt()
    # The job worker keeps the rows: a database transaction beside them would cost hits a fifth of their speed.
    meter = Meter(UsageSpool(spool_dir(settings.data_dir), clock), metrics, clock, settings.run_dir)
    meter.start()
    stack.push_async_callback(meter.close)
    return metrics, meter


def create_app() -> Application:
    """Return the application for the process environment (uvicorn's factory)."""
    settings = Settings.load()
    configure_logging(settings.log_level)
    return Application(settings)
