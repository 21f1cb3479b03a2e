"""T10: every call goes out with its own caller's credential and nobody's cookies, over connections that all share."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.routes import every_upstream
from tests.support.tiers import count

CONCURRENT = 200
CALLS = count(600, 2_000)


def body_of(tenant, number):
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"{tenant} asks {number}"}]}


async def run_all(url, works):
    """Run coroutine functions that take a client, `CONCURRENT` at a time on connections of their own."""
    left = iter(works)

    async def drive():
        async with RawClient(url) as client:
            for work in left:
                await work(client)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(drive())


@pytest.fixture
def provider():
    """One of our own, whose connections are counted."""
    with FakeProvider() as running:
        yield running


async def test_each_call_has_its_own_callers_credential(tmp_path, provider):
    provider.script(times=None, set_cookie="session=zqx; path=/", delay=0.02)
    settings = {**every_upstream(provider), "AGENTCACHE_UPSTREAM_MAX_CONNECTIONS": "64"}
    with LightGateway(tmp_path, provider, **settings) as gateway:
        tenants = {name: gateway.key(name) for name in ("acme", "globex")}
        answered = []

        def work(tenant, number):
            async def ask(client):
                headers = [("X-AgentCache-Key", tenants[tenant]), ("Cookie", f"own={tenant}")]
                own = ("Authorization", f"Bearer sk-canary-{tenant}"), ("X-Provider-Key", f"sk-canary-{tenant}")
                body = body_of(tenant, number) | ({"stream": True} if number % 3 == 0 else {})
                answer = await client.request("POST", "/openai/v1/chat/completions", [*headers, own[number % 2]], body)
                assert answer.status == 200, answer.body
                # A stream comes a word at a time.
                told = answer.body.replace(b" ", b"") if number % 3 else b"".join(
                    json.loads(line[6:])["choices"][0]["delta"].get("content", "").encode()
                    for line in answer.body.split(b"\n")
                    if line.startswith(b"data: {") and json.loads(line[6:])["choices"]
                ).replace(b" ", b"")  # fmt: skip
                assert f"canary:{tenant}#".encode() in told, (tenant, told)
                assert b"zqx" not in answer.everything
                answered.append(tenant)

            return ask

        works = [work(tenant, number) for number in range(CALLS // 2) for tenant in tenants]
        await run_all(gateway.url, works)
        assert len(answered) == CALLS
        mismatches = [
            call for call in provider.calls
            if (asked := json.loads(call.body)["messages"][0]["content"].split()[0]) != call.tenant or not asked
        ]  # fmt: skip
        assert mismatches == []
        assert not any("cookie" in call.headers for call in provider.calls)
        assert provider.call_count == CALLS
        assert provider.open_connections <= 64, "connections are shared, or this proves nothing"
    record("T10", calls=CALLS, concurrent=CONCURRENT, connections=64, mismatches=0, cookies=0)


async def test_a_call_outlives_the_eviction_of_idle_connections(tmp_path, provider):
    """With a handful of connections to two providers each call evicts the other's idle ones; none in use is cut."""
    with FakeProvider() as other:
        settings = {
            **every_upstream(provider),
            "AGENTCACHE_UPSTREAM_ANTHROPIC": f"{other.url}/anthropic",
            "AGENTCACHE_UPSTREAM_MAX_CONNECTIONS": "6",
        }
        with LightGateway(tmp_path, provider, **settings) as gateway:
            provider.script(times=None, chunk_delay=0.004)
            names = ("acme", "globex")

            def work(number):
                tenant = names[number % 2]
                headers = [("X-AgentCache-Key", gateway.key(tenant)), ("X-Provider-Key", f"sk-canary-{tenant}")]
                if number % 4 < 2:
                    path, body = "/openai/v1/chat/completions", body_of(tenant, number) | {"stream": True}
                else:
                    path, body = "/anthropic/v1/messages", body_of(tenant, number) | {"max_tokens": 90}
                    headers.append(("anthropic-version", "2023-06-01"))

                async def ask(client):
                    answer = await client.request("POST", path, headers, body)
                    assert answer.status == 200, answer.body
                    assert b"[DONE]" in answer.body if "stream" in body else b"end_turn" in answer.body

                return ask

            async def some(numbers):
                async with RawClient(gateway.url) as client:
                    for number in numbers:
                        await work(number)(client)

            async with asyncio.TaskGroup() as group:
                for first in range(12):
                    group.create_task(some(range(first, 240, 12)))
            calls = [*provider.calls, *other.calls]
            assert len(calls) == 240
            assert all(json.loads(call.body)["messages"][0]["content"].split()[0] == call.tenant for call in calls)
            wait_until(
                lambda: provider.open_connections + other.open_connections <= 6, what="evicted ones to be closed"
            )
    record("T10 eviction", calls=240, connections=6, cut=0)
