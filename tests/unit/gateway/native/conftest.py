from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.stores.open_stores import open_stores
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.app import Gateway
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.building import build_parts
from agentcache.gateway.calls import Parts
from agentcache.gateway.health import Health
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.ports import AskAgain, AskedAgain, EntryHits, Principal, Scope, TenantTotals, UsageEvent
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.clock import ManualClock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.kit.errors import Unavailable
from agentcache.settings import Settings
from tests.support.entries import make_tenant

ALL_SCOPES = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ})
#: A port that nothing listens on: a miss must fail, so that no test mistakes one for a hit.
NOWHERE = "http://127.0.0.1:9/v1"


class Directory:
    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}

    async def find_principal(self, api_key: str) -> Principal | None:
        return self.principals.get(api_key)


class Sink:
    def __init__(self) -> None:
        self.events: list[UsageEvent] = []

    async def write(self, events: list[UsageEvent]) -> None:
        self.events += events


class Jobs:
    def __init__(self) -> None:
        self.kept: list[tuple[str, dict[str, object]]] = []
        self.is_up = True

    async def enqueue(self, name: str, payload: dict[str, object], *, delay_seconds: float = 0.0) -> None:
        if not self.is_up:
            raise Unavailable
        self.kept.append((name, payload))


class Totals:
    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.hits: EntryHits | None = None

    async def entry_hits(self, tenant_id: str, since_ms: int) -> EntryHits:
        self.asked.append((tenant_id, since_ms))
        if self.hits is None:
            raise Unavailable
        return self.hits

    async def near_answer(self, tenant_id: str, request_id: str) -> str | None:
        return None

    async def tenant_totals(self, tenant_id: str, since_ms: int) -> TenantTotals:
        self.asked.append((tenant_id, since_ms))
        return TenantTotals(
            requests=10, hits=6, coalesced=1, misses=1, cost_usd_nanos=2_000_000, saved_usd_nanos=12_000_000
        )


class Prewarmer:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Selector, AskAgain, dict[str, str]]] = []
        self.answer: AskedAgain | None = AskedAgain(7, "job_1")

    async def ask_again(self, tenant_id: str, selector: Selector, at: float, how: AskAgain, **who: str) -> AskedAgain:
        if self.answer is None:
            raise Unavailable
        self.asked.append((tenant_id, selector, how, who))
        return self.answer

    async def would_ask(self, tenant_id: str, selector: Selector, at: float, how: AskAgain) -> AskedAgain:
        return AskedAgain(5)


@dataclass
class Bench:
    """The gateway over a real SQLite store, spoken to as over HTTP."""

    parts: Parts
    gateway: Gateway
    clock: ManualClock
    entries: EntryStore
    directory: Directory
    sink: Sink
    totals: Totals
    jobs: Jobs
    prewarmer: Prewarmer
    client: httpx.AsyncClient
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.make_key("team_a")

    def make_key(
        self, team: str, scopes: frozenset[Scope] = ALL_SCOPES, *, namespace: str = "default", key_id: str = "key_1"
    ) -> str:
        api_key = new_api_key()
        self.directory.principals[api_key] = Principal(make_tenant(team), key_id, scopes, namespace)
        return api_key

    def tenant(self, team: str = "team_a") -> Tenant:
        return make_tenant(team)

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send one call; underscores in header names become hyphens, `key=""` sends no key."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key != "":
            given["x-agentcache-key"] = key or self.key
        content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        return await self.client.request(method, path, headers=given, **content)

    async def post(self, path: str, body: Any, status: int = 200, **options: str) -> Any:
        """Post to `/api/cache/<path>` and return the decoded answer, which must have `status`."""
        response = await self.call("POST", f"/api/cache/{path}", body, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def get(self, path: str, status: int = 200, **options: str) -> Any:
        response = await self.call("GET", f"/api/cache/{path}", **options)
        assert response.status_code == status, response.text
        return response.json()

    async def events(self) -> list[UsageEvent]:
        await self.parts.meter.flush()
        return self.sink.events


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    settings = Settings.from_env(
        {
            "AGENTCACHE_DATA_DIR": str(tmp_path),
            "AGENTCACHE_UPSTREAM_OPENAI": NOWHERE,
            "AGENTCACHE_UPSTREAM_ANTHROPIC": NOWHERE,
            "AGENTCACHE_UPSTREAM_ACME": NOWHERE,
            "AGENTCACHE_ENTRY_MAX_BYTES": "64KiB",
            "AGENTCACHE_BODY_MAX_BYTES": "256KiB",
            # A busy machine must not turn a slow write into a 503.
            "AGENTCACHE_STORE_BUDGET_MS": "10000",
        }
    )
    clock = ManualClock()
    stores = open_stores(settings, clock)
    directory, sink, totals, jobs, prewarmer = Directory(), Sink(), Totals(), Jobs(), Prewarmer()
    metrics = Metrics()
    upstream = UpstreamClient()
    parts = build_parts(
        settings,
        clock,
        stores=stores,
        upstream=upstream,
        meter=Meter(sink, metrics, clock),
        authenticator=Authenticator(directory, clock),
        jobs=jobs,
    )
    gateway = Gateway(parts, NativeAPI(parts, totals, prewarmer=prewarmer), Health(parts, directory, metrics))
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as client:
        yield Bench(parts, gateway, clock, parts.entries, directory, sink, totals, jobs, prewarmer, client)
    await parts.flights.drain(0.0)
    await upstream.aclose()
    await stores.close()
