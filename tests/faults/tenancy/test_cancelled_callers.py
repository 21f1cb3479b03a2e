"""T5: callers that hang up at any moment, with Redis 100 ms away: every answer belongs to whoever reads it, and nothing
stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from functools import partial

import pytest

from agentcache.engine.stores import redis_entries
from agentcache.engine.stores.redis_entries import RedisEntries
from tests.support.canary_load import canaries
from tests.support.chaos import ChaosProxy
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.tiers import count

TENANTS = [f"t{number:02d}" for number in range(8)]
PROMPTS = 12
REQUESTS = 1_250
CONCURRENT = 250


def request_of(gateway, tenant, kind, prompt):
    """Return method, target, headers and body of one call; every answer to it names its tenant."""
    headers = [("X-AgentCache-Key", gateway.key(tenant)), ("X-Provider-Key", f"sk-canary-{tenant}")]
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"question {prompt}"}]}
    if kind == "native get":
        return "POST", "/api/cache/get", headers, {"provider": "openai", **asked}
    if kind == "native set":
        value = {"tenant": f"canary:{tenant}"}
        return "POST", "/api/cache/set", headers, {"provider": "openai", "model": "m", "prompt": "p", "value": value}
    if kind == "list":
        return "GET", "/api/cache/entries?limit=3", headers, b""
    if kind == "pass":
        # What is passed through: the body goes on while it comes.
        return "POST", "/openai/v1/chat/completions", [*headers, ("X-AgentCache-Mode", "off")], asked
    return "POST", "/openai/v1/chat/completions", headers, asked | ({"stream": True} if kind == "stream" else {})


async def check_what_is_left(gateway, provider):
    """Assert that every connection is in step, and that nothing goes on for callers that are gone."""
    async with RawClient(gateway.url) as client:
        for tenant in TENANTS:
            for prompt in range(PROMPTS):
                answer = await client.request(*request_of(gateway, tenant, "chat", prompt))
                assert canaries(answer) == {tenant.encode()}, answer.body
    wait_until(lambda: len(gateway.parts.flights) == 0, what="flights to land")
    wait_until(lambda: len(gateway.parts.upstream._in_use) == 0, what="connections to be given back")
    wait_until(lambda: provider.in_flight == 0, what="the provider to be left alone")


@pytest.mark.parametrize("seed", range(1, 1 + count(1, 4)))
async def test_an_answer_belongs_to_whoever_asked(tmp_path, provider, redis_server, seed, monkeypatch):
    # Patient, so that nearly every call really waits for Redis at some moment in which its caller may hang up.
    patient = partial(RedisEntries, pool_size=128, pool_wait_seconds=60, socket_seconds=60, connect_seconds=60)
    monkeypatch.setattr(redis_entries, "RedisEntries", patient)
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with ChaosProxy(redis_server.port, seed=seed) as proxy:
        settings = {"AGENTCACHE_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0", "AGENTCACHE_STORE_BUDGET_MS": "10000"}
        with LightGateway(tmp_path, provider, **settings) as gateway:
            for tenant in TENANTS:
                gateway.key(tenant)
            proxy.up.latency, proxy.down.latency, proxy.down.jitter = 0.05, 0.05, 0.02
            provider.script(times=None, delay=0.03)
            slots = asyncio.Semaphore(CONCURRENT)

            async def ask(patience):
                tenant, prompt = chance.choice(TENANTS), chance.randrange(PROMPTS)
                kind = chance.choice(["chat"] * 6 + ["stream"] * 4 + ["native get", "native set", "list", "pass"])
                async with slots, RawClient(gateway.url) as client:
                    try:
                        async with asyncio.timeout(patience):
                            answer = await client.request(*request_of(gateway, tenant, kind, prompt))
                    except TimeoutError:
                        outcomes["hung_up"] += 1
                        return
                if answer.status == 503:
                    # Our own API says when Redis keeps it waiting too long; a provider's route goes on without.
                    assert answer.json()["code"] in ("store_busy", "store_unavailable"), answer.body
                    assert kind in ("native set", "list")
                    outcomes["busy"] += 1
                    return
                assert answer.status in (200, 201), (kind, answer.body)
                outcomes["answered"] += 1
                outcomes["hits"] += answer.hit
                found = canaries(answer)
                outcomes["wrong_owner"] += bool(found - {tenant.encode()})
                outcomes["unowned"] += kind in ("chat", "pass", "stream") and not found

            await asyncio.gather(
                *(ask(chance.choice([chance.uniform(0, 0.6), chance.uniform(0, 3), 60.0])) for _ in range(REQUESTS))
            )
            proxy.heal()
            provider.clear_scripts()
            await check_what_is_left(gateway, provider)
            answered_ids = Counter(event.id for event in gateway.events)
            assert set(answered_ids.values()) == {1}
            outcomes["events"] = len(answered_ids)
    assert outcomes["wrong_owner"] == outcomes["unowned"] == 0
    assert outcomes["hung_up"] > REQUESTS / 10
    assert outcomes["answered"] > REQUESTS / 4
    assert outcomes["hits"] > REQUESTS / 20
    with contextlib.suppress(KeyError):
        del outcomes["unowned"]
    record(f"T5 gateway seed {seed}", requests=REQUESTS, dirty_connections=0, **outcomes)
