"""The real gateway under the real server, over a store of its own, with a directory and sinks that tests look into."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentcache.demo.fake_provider import FakeProvider
from agentcache.engine.entries import Tenant
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.app import Gateway
from agentcache.gateway.asgi_types import ASGIScope, Receive, Send
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.building import build_parts
from agentcache.gateway.calls import Parts
from agentcache.gateway.health import Health
from agentcache.gateway.known_hits import KnownHits, NoKnownHits
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.ports import Principal, Scope, UsageEvent
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.kit.errors import Unavailable
from agentcache.settings import Settings
from agentcache.supervisor.quick_http import QuickHTTP
from tests.support.asgi_server import ASGIServer
from tests.support.entries import make_tenant

READ_AND_WRITE = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE})
_DIALECTS = ("openai", "anthropic", "replicate", "together")


class OwnClock(SystemClock):
    """The machine's clock, which tests may set forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now(self) -> float:
        return SystemClock.now() + self.ahead_seconds


class RunningGateway:
    """`with RunningGateway(folder, provider) as gateway:` serves every dialect with the fake provider behind it."""

    def __init__(self, folder: Path, provider: FakeProvider, **environ: str) -> None:
        upstreams = {f"AGENTCACHE_UPSTREAM_{name.upper()}": f"{provider.url}/{name}" for name in _DIALECTS}
        # A busy test machine is no slow store.
        patience = {"AGENTCACHE_STORE_BUDGET_MS": "10000"}
        self.settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), **patience, **upstreams, **environ})
        self.clock = OwnClock()
        self.principals: dict[str, Principal] = {}
        self.written: list[UsageEvent] = []
        self.jobs: list[tuple[str, dict[str, object]]] = []
        self.takes_jobs = True
        self.parts: Parts
        self._loop: asyncio.AbstractEventLoop
        self._gateway: Gateway
        self._server = ASGIServer(self, http=QuickHTTP, proxy_headers=False)

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return self._server.url

    def make_key(
        self,
        team: str = "team_a",
        scopes: frozenset[Scope] = READ_AND_WRITE,
        *,
        namespace: str = "default",
        data_key: bytes | None = None,
    ) -> str:
        """Return a new AgentCache key of a team."""
        api_key = new_api_key()
        self.principals[api_key] = Principal(make_tenant(team, data_key=data_key), "key_1", scopes, namespace)
        return api_key

    def tenant(self, team: str = "team_a") -> Tenant:
        """Return a team's tenant."""
        return make_tenant(team)

    @property
    def known_hits(self) -> KnownHits | NoKnownHits:
        """What the server may answer by the bytes of a request."""
        return self.parts.known_hits

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def events(self) -> list[UsageEvent]:
        """Return every usage event so far, oldest first."""
        self.run(self.parts.meter.flush())
        return self.written

    # What the gateway's ports want.

    async def find_principal(self, api_key: str) -> Principal | None:
        return self.principals.get(api_key)

    async def write(self, events: list[UsageEvent]) -> None:
        self.written += events

    async def enqueue(self, name: str, payload: dict[str, object], *, delay_seconds: float = 0.0) -> None:
        if not self.takes_jobs:
            raise Unavailable
        self.jobs.append((name, payload))

    async def __call__(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] == "lifespan":
            await receive()
            async with AsyncExitStack() as stack:
                await self._open(stack)
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self._gateway(asgi_scope, receive, send)

    async def _open(self, stack: AsyncExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        clock: Clock = self.clock
        metrics = Metrics()
        stores = open_stores(self.settings, clock)
        stack.push_async_callback(stores.close)
        upstream = UpstreamClient()
        stack.push_async_callback(upstream.aclose)
        authenticator = Authenticator(self, clock)
        meter = Meter(self, metrics, clock)
        self.parts = build_parts(
            self.settings,
            clock,
            stores=stores,
            upstream=upstream,
            meter=meter,
            authenticator=authenticator,
            jobs=self,
        )
        stack.push_async_callback(self.parts.flights.drain, 0.0)
        self._gateway = Gateway(self.parts, NativeAPI(self.parts), Health(self.parts, self, metrics))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()
