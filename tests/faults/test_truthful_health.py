"""F27: alive means that the process answers, ready that a request passes, and neither says so when it does not."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.faults.scenes import CHAT_PATH, chat, client, headers
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

#: How long whoever polls waits; the canary's own bound is as long.
POLL_SECONDS = 1.5


def poll(gateway, path="/readyz"):
    """Return status and what the body calls it; (0, "silent") when no answer comes in time."""
    try:
        answer = httpx.get(gateway.url + path, timeout=POLL_SECONDS)
    except httpx.TimeoutException:
        return 0, "silent"
    return answer.status_code, answer.json()["status"]


@pytest.fixture
def gateway(tmp_path, provider):
    with LightGateway(tmp_path, provider) as gateway:
        yield gateway


def test_f27_the_database_is_gone(gateway):
    assert poll(gateway) == (200, "ready")
    gateway.control_plane.is_up = False
    assert poll(gateway) == (503, "unavailable")
    assert poll(gateway, "/healthz") == (200, "alive")
    gateway.control_plane.is_up = True
    assert poll(gateway) == (200, "ready")
    record("F27 database gone", lies=0)


def test_f27_the_database_is_slow(gateway, monkeypatch):
    async def slow(_api_key):
        await asyncio.sleep(30)

    monkeypatch.setattr(gateway.control_plane, "find_principal", slow)
    assert poll(gateway) == (503, "unavailable")
    assert poll(gateway, "/healthz") == (200, "alive")
    record("F27 database slow", lies=0)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_f27_the_store_is_gone_and_calls_pass_all_the_same(tmp_path, provider, redis_server, how):
    settings = {"AGENTCACHE_REDIS_URL": redis_server.url, "AGENTCACHE_STORE_BUDGET_MS": "50"}
    with LightGateway(tmp_path, provider, **settings) as gateway:
        wait_until(lambda: poll(gateway) == (200, "ready"), 60, "the first canary")
        (redis_server.kill if how == "killed" else redis_server.freeze)()
        for number in range(5):
            assert poll(gateway) == (200, "degraded")
            answer = httpx.post(gateway.url + CHAT_PATH, json=chat(f"f27 {number}"), headers=headers(gateway))
            assert answer.status_code == 200
        assert poll(gateway, "/healthz") == (200, "alive")
        (redis_server.start if how == "killed" else redis_server.thaw)()
        wait_until(lambda: poll(gateway) == (200, "ready"), 60, "the store to be used again")
    record(f"F27 store {how}", lies=0)


def test_f27_the_loop_is_blocked(gateway):
    async def block():
        time.sleep(2.5)  # noqa: ASYNC251 - that is the fault

    blocking = asyncio.run_coroutine_threadsafe(block(), gateway._loop)
    assert poll(gateway, "/healthz") == (0, "silent")
    assert not blocking.done()
    blocking.result(60)
    assert poll(gateway) == (200, "ready")
    record("F27 loop blocked", lies=0)


async def test_f27_the_provider_is_gone_which_is_not_the_servers_fault(gateway, provider):
    provider.script(status=503, times=None)
    async with client(gateway) as http:
        assert (await http.post(CHAT_PATH, json=chat("f27 provider"), headers=headers(gateway))).status_code == 503
    assert await asyncio.to_thread(poll, gateway) == (200, "ready")
    record("F27 provider gone", lies=0)


async def test_f27_ready_under_load_means_that_requests_pass(gateway, provider):
    """Never ready while nothing passes, never unready while everything does."""
    async with client(gateway) as http:
        said = []

        async def ask(number):
            for turn in range(10):
                answer = await http.post(CHAT_PATH, json=chat(f"f27 load {number} {turn}"), headers=headers(gateway))
                assert answer.status_code == 200

        async def watch():
            for _ in range(20):
                said.append((await http.get("/readyz")).status_code)
                await asyncio.sleep(0.01)

        await asyncio.gather(watch(), *(ask(number) for number in range(20)))
    assert set(said) == {200}
    record("F27 load", polls=len(said), lies=0)
