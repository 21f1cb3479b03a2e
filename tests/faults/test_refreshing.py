"""C13: a stale answer at once, one refresh behind it, the old answer kept when that fails, an error after the window."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentcache.engine.policies import Match, Policy, PolicySet
from agentcache.gateway.refreshing import REST_SECONDS
from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

LIFETIME, WINDOW, ERROR_WINDOW = 3600.0, 7200.0, 14_400.0
NEWS = PolicySet(
    1,
    (
        Policy(
            "news",
            "News",
            Match(prompt="(?i)news"),
            lifetime_seconds=LIFETIME,
            stale_while_revalidate_seconds=WINDOW,
            stale_if_error_seconds=ERROR_WINDOW,
        ),
    ),
)


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("refreshing"), _provider) as gateway:
        gateway.set_policies(gateway.key(), NEWS)
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    yield _gateway
    wait_until(lambda: len(_gateway.parts.flights) == 0, what="every flight to land")


def landed(gateway: LightGateway) -> None:
    wait_until(lambda: len(gateway.parts.flights) == 0, what="the refresh to land")


async def ask(gateway: LightGateway, prompt: str, **more: Any) -> Any:
    given = headers(gateway, **more)
    async with client(gateway) as http:
        return await http.post(CHAT_PATH, json=chat(prompt), headers=given)


def refreshes(gateway: LightGateway, key: str) -> list[Any]:
    return [event for event in gateway.events if event.outcome == "refresh" and event.entry_key == key]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_c13_stale_at_once_and_one_refresh_under_load(gateway, provider, stream):
    question = chat(f"c13 news {stream}", stream=stream)
    given = headers(gateway)
    async with client(gateway) as http:
        first = await http.post(CHAT_PATH, json=question, headers=given)
        assert first.headers["x-agentcache-policy"] == "News"
        gateway.clock.move(LIFETIME + 1)
        calls = provider.call_count
        provider.script(hold=True, times=1)
        answers = await asyncio.gather(*(http.post(CHAT_PATH, json=question, headers=given) for _ in range(100)))
        provider.wait_for_calls(calls + 1)
        assert {answer.content for answer in answers} == {first.content}
        assert {answer.headers["x-agentcache-freshness"] for answer in answers} == {"stale"}
        assert all("; hit; ttl=-" in answer.headers["cache-status"] for answer in answers)
        assert all("detail=stale-while-revalidate" in answer.headers["cache-status"] for answer in answers)
        assert all(int(answer.headers["age"]) >= LIFETIME for answer in answers)
        states = [answer.headers["x-agentcache-refresh"] for answer in answers]
        assert (states.count("started"), states.count("running")) == (1, 99)
        provider.release()
        landed(gateway)
        assert provider.call_count == calls + 1
        later = await http.post(CHAT_PATH, json=question, headers=given)
    assert status_of(later) == "hit" and later.headers["x-agentcache-freshness"] == "fresh"
    assert later.content != first.content
    (event,) = refreshes(gateway, first.headers["x-agentcache-key"])
    assert (event.latency_us, event.requests, event.status) == (0, 0, 200)
    assert event.cost_usd_nanos > 0 and event.upstream_us > 0 and event.policy == "news"
    name = "stream" if stream else "plain"
    record(f"C13 under load {name}", callers=100, refreshes_per_expiry=1, waited=0, stale_beyond_window=0)


async def test_c13_a_failing_refresh_keeps_the_old_answer_and_rests(gateway, provider):
    first = await ask(gateway, "c13 news failing")
    gateway.clock.move(LIFETIME + 1)
    calls = provider.call_count
    provider.script(status=503, times=None)
    for _ in range(20):
        answer = await ask(gateway, "c13 news failing")
        assert answer.content == first.content
        landed(gateway)
    assert answer.headers["x-agentcache-refresh"] == "waiting"
    assert provider.call_count == calls + 1
    gateway.clock.move(REST_SECONDS + 0.1)
    await ask(gateway, "c13 news failing")
    landed(gateway)
    gateway.clock.move(REST_SECONDS + 0.1)
    # Doubled: a provider in trouble is asked less and less often.
    assert (await ask(gateway, "c13 news failing")).headers["x-agentcache-refresh"] == "waiting"
    assert provider.call_count == calls + 2
    assert [event.status for event in refreshes(gateway, first.headers["x-agentcache-key"])] == [503, 503]
    # Past the first window the caller waits for the provider; while that fails, the second one holds.
    gateway.clock.move(WINDOW)
    stood_in = await ask(gateway, "c13 news failing")
    assert stood_in.content == first.content and "detail=stale-if-error" in stood_in.headers["cache-status"]
    assert stood_in.headers["x-agentcache-freshness"] == "stale"
    gateway.clock.move(ERROR_WINDOW)
    assert (await ask(gateway, "c13 news failing")).status_code == 503
    provider.clear_scripts()
    gateway.clock.move(400)
    assert (await ask(gateway, "c13 news failing")).content != first.content
    record("C13 failing refresh", callers=23, refreshes_while_failing=2, stale_beyond_window=0, errors_after_window=1)


async def test_c13_a_hanging_refresh_holds_nobody_up(gateway, provider):
    first = await ask(gateway, "c13 news hanging")
    gateway.clock.move(LIFETIME + 1)
    calls = provider.call_count
    provider.script(hold=True, times=1)
    answers = [await ask(gateway, "c13 news hanging") for _ in range(5)]
    assert {answer.content for answer in answers} == {first.content}
    # Whoever takes nothing that old waits for the refresh that is under way, and shares it.
    insisting = asyncio.create_task(ask(gateway, "c13 news hanging", Cache_Control="max-age=60"))
    await asyncio.to_thread(provider.wait_for_calls, calls + 1)
    await asyncio.sleep(0.1)
    assert not insisting.done()
    provider.release()
    assert status_of(await insisting) == "collapsed"
    assert provider.call_count == calls + 1
    record("C13 hanging refresh", stale_answers=5, held_up=0, upstream_calls=1)


async def test_c13_an_answer_that_may_not_be_stored_replaces_nothing(gateway, provider):
    first = await ask(gateway, "c13 news cut")
    gateway.clock.move(LIFETIME + 1)
    provider.script(finish_reason="length", times=1)
    await ask(gateway, "c13 news cut")
    landed(gateway)
    assert (await ask(gateway, "c13 news cut")).content == first.content


async def test_who_cannot_refresh_is_served_all_the_same(gateway, provider):
    first = await ask(gateway, "c13 news bare")
    gateway.clock.move(LIFETIME + 1)
    calls = provider.call_count
    async with client(gateway) as http:
        bare = await http.post(CHAT_PATH, json=chat("c13 news bare"), headers={"X-AgentCache-Key": gateway.key()})
        assert (bare.content, bare.headers["x-agentcache-refresh"]) == (first.content, "none")
    for more in ({"X_AgentCache_Mode": "read-only"}, {"Cache_Control": "only-if-cached"}):
        answer = await ask(gateway, "c13 news bare", **more)
        assert (answer.content, answer.headers["x-agentcache-refresh"]) == (first.content, "none")
    assert provider.call_count == calls


async def test_a_refused_credential_makes_only_its_own_key_wait(gateway, provider):
    first = await ask(gateway, "c13 news refused")
    other = gateway.new_key(policies=NEWS)
    gateway.clock.move(LIFETIME + 1)
    provider.script(status=401, times=1)
    await ask(gateway, "c13 news refused")
    landed(gateway)
    assert (await ask(gateway, "c13 news refused")).headers["x-agentcache-refresh"] == "waiting"
    async with client(gateway) as http:
        given = headers(gateway) | {"X-AgentCache-Key": other}
        answer = await http.post(CHAT_PATH, json=chat("c13 news refused"), headers=given)
    assert (answer.content, answer.headers["x-agentcache-refresh"]) == (first.content, "started")
    landed(gateway)
    assert (await ask(gateway, "c13 news refused")).headers["x-agentcache-freshness"] == "fresh"


async def test_c15_an_invalidation_during_a_refresh_is_final(gateway, provider):
    for stream in (False, True):
        prompt, given = f"c15 news {stream}", headers(gateway, X_AgentCache_Tags="news")
        question = chat(prompt, stream=stream)
        async with client(gateway) as http:
            first = await http.post(CHAT_PATH, json=question, headers=given)
            gateway.clock.move(LIFETIME + 1)
            calls = provider.call_count
            provider.script(hold=True, times=1)
            assert (await http.post(CHAT_PATH, json=question, headers=given)).headers[
                "x-agentcache-refresh"
            ] == "started"
            await asyncio.to_thread(provider.wait_for_calls, calls + 1)
            purged = await http.post(
                "/api/cache/purge", json={"tags": ["news"]}, headers={"X-AgentCache-Key": gateway.key()}
            )
            assert purged.status_code == 200
            # Neither the old answer nor the one that was under way, which is from before the invalidation.
            later = await http.post(CHAT_PATH, json=question, headers=given)
            assert status_of(later) == "miss"
            provider.release()
            landed(gateway)
            again = await http.post(CHAT_PATH, json=question, headers=given)
        assert status_of(again) == "hit" and again.content == later.content != first.content
    record("C15 refresh", races=2, resurrections=0, joined_older_calls=0)


async def test_c14_clocks_that_jump_make_nothing_immortal_and_nothing_old(gateway, provider):
    first = await ask(gateway, "c14 news")
    wrong = 0
    for jump in (-3600.0, -86_400.0):
        gateway.clock.move(jump)
        answer = await ask(gateway, "c14 news")
        wrong += status_of(answer) != "hit" or answer.headers["age"] != "0" or "x-agentcache-refresh" in answer.headers
    gateway.clock.move(3600.0 + 86_400.0)
    assert (await ask(gateway, "c14 news")).content == first.content
    # It leaps back while a refresh is under way: the new answer is stored at the time that it then is.
    gateway.clock.move(LIFETIME + 1)
    calls = provider.call_count
    provider.script(hold=True, times=1)
    await ask(gateway, "c14 news")
    await asyncio.to_thread(provider.wait_for_calls, calls + 1)
    gateway.clock.move(-7200.0)
    provider.release()
    landed(gateway)
    gateway.clock.move(7200.0)
    answer = await ask(gateway, "c14 news")
    wrong += int(answer.headers["age"]) < 7199 or answer.headers["x-agentcache-freshness"] != "stale"
    landed(gateway)
    gateway.clock.move(10 * 365 * 86_400.0)
    wrong += status_of(await ask(gateway, "c14 news")) == "hit"
    gateway.clock.move(-10 * 365 * 86_400.0)
    assert wrong == 0
    record("C14 refreshing", jumps=6, wrong_expiries=wrong, negative_ages=0)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_c13_one_refresh_over_two_workers(tmp_path, _provider, provider, kind, request):
    settings = {"AGENTCACHE_WORKERS": "2"}
    if kind == "redis":
        settings["AGENTCACHE_REDIS_URL"] = request.getfixturevalue("redis_server").url
    with LightGateway(tmp_path, _provider, **settings) as one, LightGateway(tmp_path, _provider, **settings) as two:
        two.control_plane.principals = one.control_plane.principals
        one.set_policies(one.key(f"team-{kind}"), NEWS)
        given = headers(one, f"team-{kind}")
        async with client(one) as http, client(two) as http_two:
            first = await http.post(CHAT_PATH, json=chat("two news"), headers=given)
            refreshed = 0
            for _ in range(3):
                for gateway in (one, two):
                    gateway.clock.move(LIFETIME + 1)
                calls = provider.call_count
                asked = [
                    worker.post(CHAT_PATH, json=chat("two news"), headers=given)
                    for _ in range(10)
                    for worker in (http, http_two)
                ]
                answers = await asyncio.gather(*asked)
                assert all(answer.status_code == 200 for answer in answers)
                for gateway in (one, two):
                    landed(gateway)
                assert provider.call_count == calls + 1
                refreshed += 1
            later = await http_two.post(CHAT_PATH, json=chat("two news"), headers=given)
        assert later.content != first.content and later.headers["x-agentcache-freshness"] == "fresh"
        events = [event for gateway in (one, two) for event in gateway.events if event.outcome == "refresh"]
        assert len(events) == refreshed == 3
    record(f"C13 two workers {kind}", expiries=3, callers=60, refreshes_per_expiry=1)
