"""C13 and C15 for entries that are marked stale: what is served of them, by whichever worker, and what replaces them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.faults.test_refreshing import ERROR_WINDOW, NEWS, WINDOW, landed
from tests.support.gateway import LightGateway
from tests.support.redis_server import RedisServer
from tests.support.reliability import record


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def two(request, tmp_path_factory, _provider):
    """Two workers over one store, with one control plane."""
    settings = {"AGENTCACHE_WORKERS": "2"}
    folder = tmp_path_factory.mktemp("soft")
    if request.param == "redis":
        with RedisServer() as redis:
            settings["AGENTCACHE_REDIS_URL"] = redis.url
            yield from opened(folder, _provider, settings)
    else:
        yield from opened(folder, _provider, settings)


def opened(folder, provider, settings):
    with LightGateway(folder, provider, **settings) as one, LightGateway(folder, provider, **settings) as other:
        other.control_plane.principals = one.control_plane.principals
        one.set_policies(one.key("windows"), NEWS)
        one.key("none")
        yield one, other


async def ask(worker: Any, owner: Any, team: str, prompt: str, **more: Any) -> Any:
    async with client(worker) as http:
        return await http.post(
            CHAT_PATH, json=chat(prompt), headers=headers(owner, team, X_AgentCache_Tags="t", **more)
        )


async def mark(worker: Any, owner: Any, team: str) -> int:
    async with client(worker) as http:
        done = await http.post(
            "/api/cache/invalidate", json={"tags": ["t"], "soft": True}, headers={"X-AgentCache-Key": owner.key(team)}
        )
    assert done.status_code == 200, done.text
    return int(done.json()["invalidated"])


async def test_c13_what_is_marked_stale_is_served_while_one_refresh_is_under_way(two, provider):
    one, other = two
    first = await ask(one, one, "windows", "soft news")
    for worker in (one, other):
        # Known by its bytes from here on.
        assert status_of(await ask(worker, one, "windows", "soft news")) == "hit"
    for _ in range(3):
        calls = provider.call_count
        provider.script(hold=True, times=1)
        assert await mark(other, one, "windows") == 1
        for worker in (one, other, one):
            answer = await ask(worker, one, "windows", "soft news")
            assert answer.content == first.content
            assert "detail=stale-while-revalidate" in answer.headers["cache-status"]
            assert answer.headers["x-agentcache-freshness"] == "stale"
        # What comes after the release would be held anew.
        await asyncio.to_thread(provider.wait_for_calls, calls + 1)
        provider.release()
        for worker in (one, other):
            landed(worker)
        assert provider.call_count == calls + 1
        for worker in (one, other):
            answer = await ask(worker, one, "windows", "soft news")
            assert answer.content != first.content
            assert answer.headers["x-agentcache-freshness"] == "fresh"
        first = answer
    record("C13 soft invalidation", marks=3, served_as_fresh=0, refreshes_per_mark=1)


async def test_c13_the_windows_begin_when_it_is_marked(two, provider):
    one, other = two
    first = await ask(one, one, "windows", "soft outage news")
    assert await mark(one, one, "windows") >= 1
    provider.script(status=503, times=None)
    for worker in (one, other):
        worker.clock.move(WINDOW + 1)
    for worker in (one, other):
        answer = await ask(worker, one, "windows", "soft outage news")
        assert answer.content == first.content
        assert "detail=stale-if-error" in answer.headers["cache-status"]
    for worker in (one, other):
        worker.clock.move(ERROR_WINDOW)
    for worker in (one, other):
        assert (await ask(worker, one, "windows", "soft outage news")).status_code == 503
    provider.clear_scripts()
    record("C13 soft invalidation, provider down", served_beyond_window=0)


async def test_without_windows_it_is_not_served_again(two, provider):
    one, other = two
    first = await ask(one, one, "none", "soft bare")
    assert status_of(await ask(other, one, "none", "soft bare")) == "hit"
    assert await mark(one, one, "none") >= 1
    again = await ask(other, one, "none", "soft bare")
    assert status_of(again) == "miss" or "fwd=stale" in again.headers["cache-status"]
    assert again.content != first.content
    assert (await ask(one, one, "none", "soft bare")).content == again.content
    # Whoever is content with something old while the provider fails says so.
    assert await mark(other, one, "none") >= 1
    provider.script(status=503, times=1)
    old = await ask(one, one, "none", "soft bare", Cache_Control="stale-if-error=60")
    assert old.content == again.content
    assert "detail=stale-if-error" in old.headers["cache-status"]
