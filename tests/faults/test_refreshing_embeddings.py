"""C13 for embeddings, which are cached item by item: stale at once, and one call behind for all that is stale."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentcache.engine.policies import Match, Policy, PolicySet
from agentcache.gateway.refreshing import REST_SECONDS
from tests.faults.scenes import client, headers, status_of
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

PATH = "/openai/v1/embeddings"
LIFETIME, WINDOW = 3600.0, 7200.0
POLICIES = PolicySet(
    1, (Policy("all", "All", Match(), lifetime_seconds=LIFETIME, stale_while_revalidate_seconds=WINDOW),)
)


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("embeddings"), _provider) as gateway:
        gateway.set_policies(gateway.key(), POLICIES)
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    yield _gateway
    landed(_gateway)


def landed(*gateways: LightGateway) -> None:
    wait_until(lambda: not any(one.parts.refreshes._under_way for one in gateways), what="the refresh to end")


async def ask(gateway: LightGateway, items: list[str], team: str = "acme", **more: Any) -> Any:
    body = {"model": "text-embedding-3-small", "input": items, "dimensions": 8}
    async with client(gateway) as http:
        return await http.post(PATH, json=body, headers=headers(gateway, team, **more))


def asked(provider, since: int) -> list[list[str]]:
    return [sorted(call.json["input"]) for call in list(provider.calls)[since:]]


async def test_c13_stale_items_at_once_and_one_call_for_all_of_them(gateway, provider):
    first = await ask(gateway, ["red", "green", "blue"])
    gateway.clock.move(LIFETIME / 2)
    await ask(gateway, ["new", "red"])
    gateway.clock.move(LIFETIME / 2 + 1)
    since = len(provider.calls)
    provider.script(hold=True, times=1)
    answers = await asyncio.gather(*(ask(gateway, ["new", "red", "green", "blue"]) for _ in range(20)))
    await asyncio.to_thread(provider.wait_for_calls, since + 1)
    assert {answer.json()["data"][1]["embedding"][0] for answer in answers} == {first.json()["data"][0]["embedding"][0]}
    assert all("detail=stale-while-revalidate" in answer.headers["cache-status"] for answer in answers)
    assert {answer.headers["x-agentcache-freshness"] for answer in answers} == {"stale"}
    words = [answer.headers["x-agentcache-refresh"] for answer in answers]
    assert (words.count("started"), words.count("running")) == (1, 19)
    # Whoever takes nothing that old waits for the call that is under way, and shares it.
    insisting = asyncio.create_task(ask(gateway, ["red"], Cache_Control="max-age=60"))
    await asyncio.sleep(0.1)
    assert not insisting.done()
    provider.release()
    assert status_of(await insisting) == "collapsed"
    landed(gateway)
    # What is fresh is not asked for, and what is stale is asked for together.
    assert asked(provider, since) == [["blue", "green", "red"]]
    later = await ask(gateway, ["new", "red", "green", "blue"])
    assert status_of(later) == "hit"
    assert "x-agentcache-refresh" not in later.headers
    (event,) = [event for event in gateway.events if event.outcome == "refresh"]
    assert (event.status, event.requests, event.latency_us) == (200, 0, 0)
    assert event.cost_usd_nanos > 0 and event.input_tokens > 0
    record("C13 embeddings", callers=20, refreshes_per_expiry=1, waited=0)


async def test_an_item_that_nobody_knows_is_asked_for_with_those_that_are_stale(gateway, provider):
    await ask(gateway, ["one", "two"])
    gateway.clock.move(LIFETIME + 1)
    since = len(provider.calls)
    answer = await ask(gateway, ["one", "two", "three"])
    assert status_of(answer) == "miss"
    assert asked(provider, since) == [["one", "three", "two"]]
    assert status_of(await ask(gateway, ["one", "two", "three"])) == "hit"


async def test_c13_a_failing_refresh_of_items_keeps_them_and_rests(gateway, provider):
    first = await ask(gateway, ["up", "down"])
    gateway.clock.move(LIFETIME + 1)
    since = provider.call_count
    provider.script(status=503, times=None)
    for _ in range(5):
        answer = await ask(gateway, ["up", "down"])
        assert answer.json()["data"] == first.json()["data"]
        landed(gateway)
    assert answer.headers["x-agentcache-refresh"] == "waiting"
    assert provider.call_count == since + 1
    # One that does not wait is asked for alone.
    await ask(gateway, ["left"])
    provider.clear_scripts()
    gateway.clock.move(REST_SECONDS + 0.1)
    assert (await ask(gateway, ["up", "down"])).headers["x-agentcache-refresh"] == "started"
    landed(gateway)
    assert (await ask(gateway, ["up", "down"])).headers["x-agentcache-freshness"] == "fresh"
    gateway.clock.move(LIFETIME + WINDOW + 1)
    assert status_of(await ask(gateway, ["up", "down"])) == "stale"


async def test_who_cannot_refresh_items_is_served_them_all_the_same(gateway, provider):
    await ask(gateway, ["bare"])
    gateway.clock.move(LIFETIME + 1)
    since = provider.call_count
    for more in ({"X_AgentCache_Mode": "read-only"}, {"Cache_Control": "only-if-cached"}):
        answer = await ask(gateway, ["bare"], **more)
        assert (answer.status_code, answer.headers["x-agentcache-refresh"]) == (200, "none")
    assert provider.call_count == since


async def test_c13_items_are_refreshed_once_over_two_workers(tmp_path, _provider, provider, redis_server):
    settings = {"AGENTCACHE_WORKERS": "2", "AGENTCACHE_REDIS_URL": redis_server.url}
    with LightGateway(tmp_path, _provider, **settings) as one, LightGateway(tmp_path, _provider, **settings) as two:
        two.control_plane.principals = one.control_plane.principals
        one.set_policies(one.key("embedders"), POLICIES)
        await ask(one, ["a", "b"], "embedders")
        for gateway in (one, two):
            gateway.clock.move(LIFETIME + 1)
        since = len(provider.calls)
        provider.script(hold=True, times=1)
        asking = [ask(gateway, items, "embedders") for gateway in (one, two) for items in (["a", "b"], ["b", "a"]) * 3]
        answers = await asyncio.gather(*asking)
        await asyncio.to_thread(provider.wait_for_calls, since + 1)
        assert {answer.status_code for answer in answers} == {200}
        words = {answer.headers["x-agentcache-refresh"] for answer in answers}
        assert words <= {"started", "running", "waiting"}
        provider.release()
        landed(one, two)
        assert sorted(item for items in asked(provider, since) for item in items) == ["a", "b"]
        assert status_of(await ask(two, ["a", "b"], "embedders")) == "hit"
    record("C13 embeddings two workers", callers=12, refreshes_per_item=1)
