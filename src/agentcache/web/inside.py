"""The gateway's parts inside the job worker, for calls that the server makes for teams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial

from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.building import build_parts
from agentcache.gateway.inside import Inside
from agentcache.gateway.kept_requests import RequestSpool, requests_dir
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.ports import Principal
from agentcache.gateway.semantic.building import open_learning
from agentcache.gateway.usage_spool import UsageSpool, spool_dir
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.queue import DatabaseJobQueue
from agentcache.kit.clock import Clock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.quotas.limit_book import DjangoLimitBook
from agentcache.semantics.settings_book import semantics_of
from agentcache.settings import Settings

#: Nobody waits: an answer that was paid for is worth waiting for a busy store.
STORE_BUDGET_MS = 10_000


class Nobody:
    """Implements `gateway.ports.Directory` where no API key comes in."""

    async def find_principal(self, api_key: str) -> Principal | None:
        """Know no key."""
        return None


class LazyInside:
    """Opens the parts when the first job needs them: prices alone take 30 MB. `close` releases them."""

    def __init__(self, settings: Settings, clock: Clock, threads: DatabaseThreads) -> None:
        self._settings = settings
        self._clock = clock
        self._threads = threads
        self._stack = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._inside: Inside | None = None

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[Inside]:
        """Yield what makes calls; it stays open for the next job."""
        async with self._opening:
            if self._inside is None:
                self._inside = await self._open()
        yield self._inside

    async def close(self) -> None:
        """End what is under way and hand usage on."""
        await self._stack.aclose()

    async def _open(self) -> Inside:
        settings, clock = self._settings, self._clock
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        metrics = Metrics(settings.run_dir)
        self._stack.callback(metrics.close)
        # Without a file of its own: what is kept here is handed on before it counts as done.
        meter = Meter(UsageSpool(spool_dir(settings.data_dir), clock), metrics, clock)
        meter.start()
        self._stack.push_async_callback(meter.close)
        stores = open_stores(replace(settings, store_budget_ms=STORE_BUDGET_MS), clock)
        self._stack.push_async_callback(stores.close)
        kept_requests = RequestSpool(requests_dir(settings.data_dir), clock).start()
        self._stack.push_async_callback(kept_requests.close)
        learning = open_learning(settings, clock, entries=stores.entries, meter=meter)
        if learning is not None:
            self._stack.push_async_callback(learning.close)
        upstream = UpstreamClient(settings.upstream_max_connections)
        self._stack.push_async_callback(upstream.aclose)
        parts = build_parts(
            settings,
            clock,
            stores=stores,
            upstream=upstream,
            meter=meter,
            authenticator=Authenticator(Nobody(), clock),
            jobs=DatabaseJobQueue(self._threads, clock),
            limits=DjangoLimitBook(self._threads),
            kept_requests=kept_requests,
            semantic=learning,
        )
        self._stack.callback(parts.refusals.close)
        self._stack.push_async_callback(parts.admission.close)
        self._stack.push_async_callback(parts.flights.drain, 0.0)
        await asyncio.to_thread(parts.prices.load)
        return Inside(parts, self._semantics_of if learning is not None else None)

    async def _semantics_of(self, team_id: str) -> Mapping[str, SemanticSettings]:
        return await self._threads.run(partial(semantics_of, team_id))
