"""Every request with a valid key is exactly one usage event; none is lost on a clean stop, and what a kill loses is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter

import psutil
import pytest
from pysqlite3 import dbapi2 as sqlite3

from agentcache.gateway.meter import FLUSH_SECONDS
from agentcache.gateway.ports import Scope
from tests.support.gateway import FullGateway, LightGateway
from tests.support.guarded import wait_until
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.routes import every_upstream, guarded_routes, settings_dialects

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

CHAT = "/openai/v1/chat/completions"
QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port?"}]}
STREAM = {**QUESTION, "stream": True}
EMBED = {"model": "text-embedding-3-small", "input": ["a", "b"]}
PREDICTION = {"version": "ab" * 32, "input": {"prompt": "p", "seed": 1}}
PROVIDER = ("Authorization", "Bearer sk-test")


@pytest.fixture
def gateway(tmp_path, provider):
    settings = {**every_upstream(provider), "AGENTCACHE_BODY_MAX_BYTES": "64KiB"}
    settings |= {"AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS": "0.3", "AGENTCACHE_UPSTREAM_IDLE_SECONDS": "0.3"}
    with LightGateway(tmp_path, provider, **settings) as running:
        yield running


#: name -> (method, target, headers, body, script of the provider); what must not matter for the number of events.
PATHS = {
    "miss": ("POST", CHAT, [PROVIDER], QUESTION, {}),
    "hit": ("POST", CHAT, [PROVIDER], QUESTION, {}),
    "hit of a stream": ("POST", CHAT, [PROVIDER], STREAM, {}),
    "stream": ("POST", CHAT, [PROVIDER], STREAM | {"seed": 1}, {}),
    "refresh": ("POST", CHAT, [PROVIDER, ("X-AgentCache-Mode", "refresh")], QUESTION, {}),
    "off": ("POST", CHAT, [PROVIDER, ("X-AgentCache-Mode", "off")], QUESTION, {}),
    "only-if-cached": ("POST", CHAT, [PROVIDER, ("Cache-Control", "only-if-cached")], QUESTION | {"seed": 9}, {}),
    "no provider key": ("POST", CHAT, [], QUESTION | {"seed": 9}, {}),
    "bad JSON": ("POST", CHAT, [PROVIDER, ("Content-Type", "application/json")], b"{", {}),
    "not an object": ("POST", CHAT, [PROVIDER, ("Content-Type", "application/json")], b"[]", {}),
    "too large": ("POST", CHAT, [PROVIDER, ("Content-Type", "application/json")], b'"' + b"x" * 70_000 + b'"', {}),
    "another media type": ("POST", CHAT, [PROVIDER, ("Content-Type", "text/plain")], b"hello", {}),
    "refused upstream": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 2}, {"status": 400}),
    "upstream error": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 3}, {"status": 500}),
    "upstream late": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 4}, {"wire": "never-answer"}),
    "upstream garbage": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 5}, {"wire": "garbage"}),
    "upstream reset": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 6}, {"rst_after_bytes": 5}),
    "cut stream": ("POST", CHAT, [PROVIDER], STREAM | {"seed": 7}, {"rst_after_chunks": 2}),
    "stalled stream": ("POST", CHAT, [PROVIDER], STREAM | {"seed": 8}, {"stall_after": 2}),
    "length": ("POST", CHAT, [PROVIDER], QUESTION | {"seed": 10}, {"finish_reason": "length"}),
    "bad model": ("POST", CHAT, [PROVIDER], QUESTION | {"model": "no-such-model"}, {}),
    "embeddings": ("POST", "/openai/v1/embeddings", [PROVIDER], EMBED, {}),
    "embeddings, partly known": ("POST", "/v1/embeddings", [PROVIDER], EMBED | {"input": ["b", "c"]}, {}),
    "embeddings, all known": ("POST", "/v1/embeddings", [PROVIDER], EMBED, {}),
    "embeddings refused": ("POST", "/v1/embeddings", [PROVIDER], EMBED | {"input": ["d"]}, {"status": 429}),
    "embeddings of tokens": ("POST", "/v1/embeddings", [PROVIDER], EMBED | {"input": [[1, 2], [3]]}, {}),
    "embeddings malformed": ("POST", "/v1/embeddings", [PROVIDER], EMBED | {"input": {"a": 1}}, {}),
    "embeddings late": ("POST", "/v1/embeddings", [PROVIDER], EMBED | {"input": ["e"]}, {"wire": "never-answer"}),
    "prediction": ("POST", "/replicate/v1/predictions", [PROVIDER, ("Prefer", "wait")], PREDICTION, {}),
    "prediction again": ("POST", "/replicate/v1/predictions", [PROVIDER, ("Prefer", "wait")], PREDICTION, {}),
    "prediction refused": ("POST", "/replicate/v1/predictions", [PROVIDER], {"version": "x", "input": {"seed": 1}}, {}),
    "prediction late": (
        "POST", "/replicate/v1/predictions", [PROVIDER], PREDICTION | {"input": {"seed": 2}}, {"wire": "never-answer"},
    ),
    "poll": ("GET", "/replicate/v1/predictions/abc", [PROVIDER], b"", {}),
    "poll of our own": ("GET", f"/replicate/v1/predictions/ac{'0' * 50}", [PROVIDER], b"", {}),
    "pass": ("GET", "/openai/v1/models", [PROVIDER], b"", {}),
    "pass refused": ("GET", "/openai/v1/models/none", [PROVIDER], b"", {}),
    "pass cut": ("GET", "/openai/v1/models", [PROVIDER], b"", {"fin_after_bytes": 20}),
    "pass late": ("GET", "/openai/v1/models", [PROVIDER], b"", {"wire": "never-answer"}),
    "pass without provider key": ("GET", "/openai/v1/models", [], b"", {}),
    "speech": ("POST", "/v1/audio/speech", [PROVIDER], {"model": "tts-1", "input": "Hi", "voice": "alloy"}, {}),
    "native miss": ("POST", "/api/cache/get", [], {"provider": "openai", "prompt": "p"}, {}),
    "native set": ("POST", "/api/cache/set", [], {"provider": "openai", "prompt": "p", "value": 1}, {}),
    "native hit": ("POST", "/api/cache/get", [], {"provider": "openai", "prompt": "p"}, {}),
    "native by key": ("GET", "/api/cache/get?key=none", [], b"", {}),
    "native malformed": ("POST", "/api/cache/get", [], {"prompt": "p", "nonsense": 1}, {}),
    "native directive": ("GET", "/api/cache/stats", [("X-AgentCache-TTL", "5")], b"", {}),
    "native list": ("GET", "/api/cache/entries", [], b"", {}),
    "native explain": ("POST", "/api/cache/explain", [], {"provider": "openai", **QUESTION}, {}),
    "native delete": ("DELETE", f"/api/cache/entries/{'0' * 64}", [], b"", {}),
    "native purge": ("POST", "/api/cache/purge", [], {"tags": ["none"]}, {}),
}  # fmt: skip


async def test_every_way_through_the_gateway_is_one_event(gateway, provider):
    asked = {}
    async with RawClient(gateway.url) as client:
        for name, (method, target, headers, body, script) in PATHS.items():
            if script:
                provider.script(**script)
            given = [("X-AgentCache-Key", gateway.key()), *headers]
            try:
                answer = await client.request(method, target, given, body)
            except ConnectionError:
                asked[name] = ""  # cut midway, so that nobody takes the beginning for the whole
                continue
            assert answer.status < 505, (name, answer.body)
            asked[name] = answer.header("x-agentcache-request-id")
            provider.clear_scripts()
    by_id = Counter(event.id for event in gateway.events)
    wrong = {name: by_id[request_id] for name, request_id in asked.items() if request_id and by_id[request_id] != 1}
    assert wrong == {}
    assert len(by_id) == len(PATHS)
    statuses = {event.id: event.status for event in gateway.events}
    assert statuses[asked["upstream late"]] == 504
    assert statuses[asked["bad JSON"]] == 400
    assert statuses[asked["too large"]] == 413
    outcomes = {name: next((e.outcome for e in gateway.events if e.id == i), "") for name, i in asked.items()}
    assert (outcomes["miss"], outcomes["hit"], outcomes["off"], outcomes["upstream error"]) == (
        "miss", "exact", "bypass", "error",
    )  # fmt: skip
    record("metering paths", paths=len(PATHS), events=len(by_id), missing=0, doubled=0)


async def test_a_caller_without_the_scope_is_an_event_and_one_without_a_key_is_none(gateway):
    routes = [route for route in guarded_routes(settings_dialects(gateway.settings)) if route.group != "health"]
    nobody = gateway.key("acme", scopes=frozenset())
    async with RawClient(gateway.url) as client:
        for route in routes:
            refused = await client.request(route.method, route.target, [("X-AgentCache-Key", nobody)], route.body)
            assert refused.status == 403, route.id
            await client.request(route.method, route.target, [("X-AgentCache-Key", "ac_live_none")], route.body)
            await client.request(route.method, route.target, [], route.body)
        admin = gateway.key("acme", scopes=frozenset(Scope))
        assert (await client.request("GET", "/metrics", [("X-AgentCache-Key", admin)])).status == 200
    refused_calls: Counter[tuple[int, str]] = Counter()
    for event in gateway.events:
        refused_calls[event.status, event.outcome] += event.requests
    assert refused_calls == {(403, "refused"): len(routes)}


async def test_callers_that_hang_up_are_one_event_each(gateway, provider):
    provider.script(times=None, delay=0.15, chunk_delay=0.01)
    calls = [
        ("POST", CHAT, QUESTION), ("POST", CHAT, STREAM), ("POST", "/v1/embeddings", EMBED),
        ("POST", "/replicate/v1/predictions", PREDICTION), ("GET", "/openai/v1/models", b""),
        ("POST", CHAT, STREAM | {"seed": 5}),
    ]  # fmt: skip
    headers = [("X-AgentCache-Key", gateway.key()), PROVIDER]
    for method, target, body in calls:
        for patience in (0.05, 0.18, 0.22):
            async with RawClient(gateway.url) as client:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await client.request(method, target, headers, body)
    wait_until(lambda: len(gateway.events) >= len(calls) * 3, what="an event for each")
    await asyncio.sleep(0.4)  # a second event would come late
    assert set(Counter(event.id for event in gateway.events).values()) == {1}
    assert len(gateway.events) == len(calls) * 3


async def test_nothing_is_lost_while_the_database_is_away(gateway, provider):
    headers = [("X-AgentCache-Key", gateway.key()), PROVIDER]
    async with RawClient(gateway.url) as client:
        assert (await client.request("POST", CHAT, headers, QUESTION)).status == 200
        gateway.control_plane.is_up = False
        for number in range(50):
            answer = await client.request("POST", CHAT, headers, QUESTION)
            assert answer.hit, number
        await asyncio.sleep(2 * FLUSH_SECONDS)
        gateway.control_plane.is_up = True
    assert len(gateway.events) == 51


async def load(server, seconds, acknowledged):
    """Ask for so long, or until the server is gone; note the id and the moment of every answer."""
    headers = [("X-AgentCache-Key", server.key()), PROVIDER]

    async def drive(number):
        async with RawClient(server.url) as client:
            try:
                while True:
                    answer = await client.request("POST", CHAT, headers, QUESTION | {"seed": number})
                    assert answer.status == 200
                    acknowledged[answer.header("x-agentcache-request-id")] = time.monotonic()
                    await asyncio.sleep(0.005)
            except (ConnectionError, OSError):
                return

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(drive(number) for number in range(4)))


def column(server, query):
    """Return the one column that a query of the server's records asks for."""
    address = f"file:{server.settings.app_db}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
        return [value for (value,) in connection.execute(query)]


def gaps(server):
    """Return how many events each loss cost, as far as it is known."""
    return column(server, "SELECT lost FROM analytics_usagegap ORDER BY id")


def kept_ids(server):
    """Return the id of every event that is kept."""
    return set(column(server, "SELECT id FROM analytics_usageevent"))


def server_processes(server):
    """Return the ids of the server processes below the supervisor."""
    children = psutil.Process(server.server.process.pid).children()
    return [child.pid for child in children if "agentcache.supervisor.server" in " ".join(child.cmdline())]


async def test_a_kill_loses_at_most_a_second_and_a_clean_stop_nothing(tmp_path, provider):
    settings = every_upstream(provider)
    killed = FullGateway(tmp_path, provider, workers=1, **settings)
    with killed:
        (pid,) = server_processes(killed)
        before: dict[str, float] = {}
        await load(killed, 0.8, before)
        late: dict[str, float] = {}
        loading = asyncio.create_task(load(killed, 10, late))
        await asyncio.sleep(0.4)
        started = len(late)
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        await loading
        # The job worker finds what the dead one could not hand on, and the supervisor starts another.
        wait_until(lambda: len(gaps(killed)) == 1, what="the loss to be told")
        after: dict[str, float] = {}
        async with asyncio.timeout(60):
            while not after:
                await load(killed, 0.3, after)
        wait_until(lambda: after.keys() <= kept_ids(killed), what="the new process's events")
    kept = kept_ids(killed)
    lost = [request_id for request_id in [*before, *late] if request_id not in kept]
    (told,) = gaps(killed)
    assert started > 0
    # Up to four requests were recorded and their answers never read.
    assert len(lost) <= told <= len(lost) + 4
    assert set(list(before)[: len(before) // 4]) <= kept, "what was recorded a second ago is kept"
    oldest = killed_at - min((late | before)[request_id] for request_id in lost)

    acknowledged: dict[str, float] = {}
    clean = FullGateway(tmp_path, provider, workers=2, **settings)
    with clean:
        await load(clean, 0.8, acknowledged)
    assert clean.server.process.returncode == 0
    added = kept_ids(clean) - kept
    assert acknowledged.keys() <= added
    assert len(added - acknowledged.keys()) <= 4, "requests under way when the load ended"
    # Nothing is told twice.
    assert gaps(clean) == [told]
    record(
        "metering stop and kill", clean_stop_events=len(acknowledged), clean_stop_lost=0,
        before_kill=len(before) + len(late), lost_by_kill=len(lost), told=told, oldest_lost_seconds=round(oldest, 2),
    )  # fmt: skip
