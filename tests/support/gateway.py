"""Running gateways for tests, over real sockets and real stores, with the fake provider behind every dialect.

`LightGateway` runs in a thread of the test process with a directory and a usage sink in memory: it starts in
milliseconds, and tests can look inside and move its clock. `FullGateway` is the product as it is delivered, in
processes of its own that tests can kill.

    with LightGateway(tmp_path, provider) as gateway:
        OpenAI(base_url=f"{gateway.url}/openai/v1", api_key=gateway.key("acme"),
               default_headers={"X-Provider-Key": "sk-test"})
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from pysqlite3 import dbapi2 as sqlite3

from agentcache.demo.fake_provider import FakeProvider
from agentcache.engine.entries import Tenant
from agentcache.engine.policies import NO_POLICIES, PolicySet
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.engine.stores.open_stores import Stores, open_stores
from agentcache.gateway.app import Gateway
from agentcache.gateway.asgi_types import ASGIScope, Message, Receive, Send
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.building import build_parts
from agentcache.gateway.calls import Parts
from agentcache.gateway.health import Health
from agentcache.gateway.known_hits import KnownHit
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.ports import EntryHits, Principal, Scope, SemanticEvent, TenantTotals, UsageEvent
from agentcache.gateway.semantic.building import open_semantic
from agentcache.gateway.semantic.tier import SemanticTier
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.clock import SystemClock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.kit.errors import Unavailable
from agentcache.settings import Settings
from agentcache.supervisor.quick_http import QuickHTTP
from tests.support.asgi_server import ASGIServer
from tests.support.entries import make_tenant
from tests.support.migrated_records import put_into
from tests.support.server_process import ServerProcess

DIALECTS = ("openai", "anthropic", "replicate", "together")
#: A machine that runs tests may be busy, where it is not the budget of the store that is looked at.
PATIENCE: Final[dict[str, Any]] = {"AGENTCACHE_STORE_BUDGET_MS": "5000", "AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS": "20"}
DEFAULT_SCOPES = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ})


def upstream_settings(provider: FakeProvider) -> dict[str, str]:
    """Return the settings that put the fake provider behind every dialect."""
    return {f"AGENTCACHE_UPSTREAM_{name.upper()}": f"{provider.url}/{name}" for name in DIALECTS}


class MovableClock(SystemClock):
    """The machine's clock, plus what a test moved it forward by."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def move(self, seconds: float) -> None:
        """Go on by `seconds` at once."""
        self._ahead += seconds


class InMemoryControlPlane:
    """The ports that the gateway asks, over lists: directory, usage sink, totals and jobs."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}
        self.written: list[UsageEvent] = []
        self.jobs: list[tuple[str, dict[str, object]]] = []
        #: False makes every question to the directory, the sink and the queue fail.
        self.is_up = True

    def _check(self) -> None:
        if not self.is_up:
            raise Unavailable

    async def find_principal(self, api_key: str) -> Principal | None:
        """Answer whose key it is."""
        self._check()
        return self.principals.get(api_key)

    async def write(self, events: list[UsageEvent]) -> None:
        """Take usage events, each once by its id."""
        self._check()
        known = {event.id for event in self.written[-len(events) - 5000 :]}
        self.written += [event for event in events if event.id not in known]

    async def enqueue(self, name: str, payload: dict[str, object], *, delay_seconds: float = 0.0) -> None:
        """Take a job."""
        self._check()
        self.jobs.append((name, payload))

    async def tenant_totals(self, tenant_id: str, since_ms: int) -> TenantTotals:
        """Add up what was written."""
        events = [event for event in self.written if event.tenant_id == tenant_id and event.at_ms >= since_ms]

        def having(*outcomes: str) -> int:
            return sum(event.outcome in outcomes for event in events)

        return TenantTotals(
            requests=len(events),
            hits=having("exact", "semantic", "stale"),
            coalesced=having("coalesced"),
            misses=having("miss"),
            cost_usd_nanos=sum(event.cost_usd_nanos for event in events),
            saved_usd_nanos=sum(event.saved_usd_nanos for event in events),
        )

    async def entry_hits(self, tenant_id: str, since_ms: int) -> EntryHits:
        """Count the hits that were written by entry."""
        self._check()
        found: dict[str, tuple[int, int]] = {}
        for event in self.written:
            if event.tenant_id == tenant_id and event.at_ms >= since_ms and event.outcome in ("exact", "stale"):
                hits, saved = found.get(event.entry_key, (0, 0))
                found[event.entry_key] = (hits + 1, saved + event.saved_usd_nanos)
        return EntryHits(found, since_ms)

    async def near_answer(self, tenant_id: str, request_id: str) -> str | None:
        """Return the entry that answered a request to a near question, as it was written."""
        self._check()
        for event in self.written:
            if (event.tenant_id, event.id, event.outcome) == (tenant_id, request_id, "semantic"):
                return event.entry_key
        return None


@dataclass(frozen=True)
class Reply:
    """How a request was answered. Header names are lower case."""

    method: str
    path: str
    status: int
    headers: dict[str, str]

    @property
    def cache_status(self) -> str:
        """`Cache-Status`, or an empty string."""
        return self.headers.get("cache-status", "")


class LightGateway:
    """The gateway under the real server in a thread of the test process.

    `settings` are names and texts as in the environment (`AGENTCACHE_ENTRY_MAX_BYTES="64KiB"`), and win over the
    upstreams at the fake provider. Teams and keys come into being when `key()` first names them.
    """

    #: Whether it has the semantic tier; see `tests.support.near`.
    is_semantic = False

    def __init__(self, folder: Path, provider: FakeProvider, **settings: str) -> None:
        # A test machine may be busy: a store that is late for once must not turn hits into misses.
        # And all callers of a test have one address.
        patience = {"AGENTCACHE_STORE_BUDGET_MS": "10000", "AGENTCACHE_KEY_FAILURES_PER_MINUTE": "1000000"}
        environ = {"AGENTCACHE_DATA_DIR": str(folder), **upstream_settings(provider), **patience, **settings}
        self.settings = Settings.from_env(environ)
        self.provider = provider
        self.clock = MovableClock()
        self.control_plane = InMemoryControlPlane()
        self.metrics = Metrics()
        #: What happened to near questions, oldest first; with `is_semantic` only.
        self.near_events: list[SemanticEvent] = []
        #: Every answer since the start, in the order in which they began.
        self.replies: list[Reply] = []
        #: How many of them were known by the bytes of their requests.
        self.known_hits = 0
        self.parts: Parts
        self._keys: dict[tuple[str, frozenset[Scope], str], str] = {}
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop
        self._gateway: Gateway
        self._server = ASGIServer(_Noted(self), http=QuickHTTP, proxy_headers=False)

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return self._server.url

    def key(self, team: str = "acme", *, scopes: frozenset[Scope] = DEFAULT_SCOPES, namespace: str = "default") -> str:
        """Return the AgentCache key of a team with these scopes and default namespace."""
        found = self._keys.get((team, scopes, namespace))
        if found is None:
            found = self._keys[team, scopes, namespace] = self.new_key(team, scopes=scopes, namespace=namespace)
        return found

    def new_key(
        self,
        team: str = "acme",
        *,
        scopes: frozenset[Scope] = DEFAULT_SCOPES,
        namespace: str = "default",
        data_key: bytes | None = None,
        policies: PolicySet = NO_POLICIES,
        semantics: Mapping[str, SemanticSettings] | None = None,
    ) -> str:
        """Return one more key of a team; `data_key` encrypts its entries where the settings ask for that."""
        api_key = new_api_key()
        tenant = make_tenant(team, data_key=data_key)
        key_id = f"key_{len(self.control_plane.principals) + 1}"
        self.control_plane.principals[api_key] = Principal(
            tenant, key_id, scopes, namespace, policies=policies, semantics=semantics or {}
        )
        return api_key

    def set_policies(self, api_key: str, policies: PolicySet) -> None:
        """Change a key's team's policies; the gateway notices when its verdict is old enough."""
        known = self.control_plane.principals[api_key]
        self.control_plane.principals[api_key] = replace(known, policies=policies)

    def revoke(self, api_key: str) -> None:
        """Take a key away; the gateway notices when its verdict is old enough."""
        del self.control_plane.principals[api_key]

    def tenant(self, team: str = "acme") -> Tenant:
        """Return a team's tenant."""
        return make_tenant(team)

    @property
    def events(self) -> list[UsageEvent]:
        """Every usage event so far, oldest first."""
        if self._is_open:
            self.run(self._hand_on())
        return self.control_plane.written

    async def _hand_on(self) -> None:
        self.parts.refusals.hand_on()
        await self.parts.meter.flush()

    @property
    def jobs(self) -> list[tuple[str, dict[str, object]]]:
        """Every job that was left for later: name and payload."""
        return self.control_plane.jobs

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 60.0) -> Any:
        """Run a coroutine on the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start(self) -> Self:
        """Return once the gateway serves."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Shut down gracefully; what is stored stays in the folder."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def serve(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Be an ASGI application that notes its replies."""
        if asgi_scope["type"] != "lifespan":
            await self._gateway(asgi_scope, receive, self._noting(asgi_scope, send))
            return
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            self._is_open = True
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._is_open = False
        await send({"type": "lifespan.shutdown.complete"})

    def _noting(self, asgi_scope: ASGIScope, send: Send) -> Send:
        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
                }
                self.replies.append(Reply(asgi_scope["method"], asgi_scope["path"], message["status"], headers))
            await send(message)

        return noting_send

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        plane, clock = self.control_plane, self.clock
        meter = Meter(plane, self.metrics, clock)
        meter.start()
        stack.push_async_callback(meter.close)
        stores = open_stores(self.settings, clock)
        stack.push_async_callback(stores.close)
        upstream = UpstreamClient(self.settings.upstream_max_connections)
        stack.push_async_callback(upstream.aclose)
        self.parts = build_parts(
            self.settings,
            clock,
            stores=stores,
            upstream=upstream,
            meter=meter,
            authenticator=Authenticator(plane, clock),
            jobs=plane,
            semantic=self._open_semantic(stores, meter, stack),
        )
        stack.callback(self.parts.refusals.close)
        stack.push_async_callback(self.parts.flights.drain, 0.0)
        self._gateway = Gateway(self.parts, NativeAPI(self.parts, plane), Health(self.parts, plane, self.metrics))

    def _open_semantic(self, stores: Stores, meter: Meter, stack: contextlib.AsyncExitStack) -> SemanticTier | None:
        if not self.is_semantic:
            return None
        events = _NearEvents(self.near_events)
        tier = open_semantic(self.settings, self.clock, entries=stores.entries, meter=meter, events=events)
        assert tier is not None, "the semantic extra is among the test's requirements"
        stack.push_async_callback(tier.close)
        return tier


class _NearEvents:
    """Keeps events of near questions in a list."""

    def __init__(self, events: list[SemanticEvent]) -> None:
        self._events = events

    def add(self, event: SemanticEvent) -> None:
        self._events.append(event)


class _Noted:
    """A gateway as the server's application, with its known hits: their replies are noted, too."""

    def __init__(self, gateway: LightGateway) -> None:
        self._gateway = gateway

    async def __call__(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        await self._gateway.serve(asgi_scope, receive, send)

    @property
    def known_hits(self) -> Self:
        return self

    def begins(self, head: bytes) -> bool:
        return self._gateway.parts.known_hits.begins(head)

    def answer(self, request: bytes) -> KnownHit | None:
        hit = self._gateway.parts.known_hits.answer(request)
        if hit is not None:
            method, target, _ = request.split(b" ", 2)
            said = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in (
                    *hit.headers,
                    (b"x-agentcache-request-id", hit.request_id),
                    (b"content-length", b"%d" % len(hit.body)),
                    *hit.limits,
                )
            }
            path = target.partition(b"?")[0].decode("latin-1")
            self._gateway.replies.append(Reply(method.decode(), path, hit.status, said))
            self._gateway.known_hits += 1
        return hit


class FullGateway:
    """`python -m agentcache serve` in processes of its own, with its databases and a key for each of `teams`.

    Starting one costs seconds, so share it: `workers` is the number of server processes behind the one port.
    """

    def __init__(
        self,
        folder: Path,
        provider: FakeProvider,
        *,
        workers: int = 1,
        teams: tuple[str, ...] = ("acme", "globex"),
        **settings: str,
    ) -> None:
        environ = {**upstream_settings(provider), **settings}
        self.provider = provider
        self.server = ServerProcess(folder, "--workers", str(workers), **environ)
        self.settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), **environ})
        self._teams = teams
        self._made: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return self.server.url

    def key(self, team: str = "acme") -> str:
        """Return the AgentCache key of one of the teams."""
        return self._made[team]["key"]

    def team_id(self, team: str = "acme") -> str:
        """Return a team's id, which is its tenant's."""
        return self._made[team]["team_id"]

    def create_key(self, *arguments: str) -> str:
        """Return a key of the local team from `agentcache keys create` with further arguments."""
        finished = self.server.run("keys", "create", "--json", *arguments)
        assert finished.returncode == 0, finished.stderr
        return str(json.loads(finished.stdout)["key"])

    @property
    def events(self) -> list[UsageEvent]:
        """Every usage event that has reached the embedded database, oldest first; at most a second behind."""
        columns = ", ".join(UsageEvent.__struct_fields__).replace("tenant_id", "team_id")
        address = f"file:{self.settings.app_db}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            rows = connection.execute(f"SELECT {columns} FROM analytics_usageevent ORDER BY at_ms, id").fetchall()
        return [msgspec.convert(row, UsageEvent) for row in rows]

    def start(self) -> Self:
        """Return once the server is ready and the teams have their keys."""
        if self.settings.database_url is None and not self.settings.app_db.exists():
            put_into(self.settings.data_dir)
        self.server.__enter__()
        try:
            # Late: only here tests of the gateway need Django, which takes half a second to set up.
            from tests.support.team_keys import make_team_keys

            self._made = make_team_keys(self.settings, self._teams)
        except BaseException:
            self.server.stop()
            raise
        return self

    def stop(self) -> int:
        """Stop gracefully and return the exit code."""
        return self.server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
