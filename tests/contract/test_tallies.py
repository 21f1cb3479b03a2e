"""Every kind of shared counter keeps the same promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis

from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.redis_link import RedisLink
from agentcache.engine.stores.redis_tally import RedisTally
from agentcache.engine.stores.tallies import HOLD_SECONDS, Ask, FileTally, Kind, generation_of, rate_left

NOW = 1_800_000_000.0
COUNT = Ask(Kind.COUNT, "team_a", "team:", 10, period=202611)
RATE = Ask(Kind.RATE, "team_a", "key:k:rate", 6)
HOLD = Ask(Kind.HOLD, "team_a", "team:usd", 1000, period=202611, want=400)


@pytest.fixture(params=["file", "redis", "redis-cluster"])
def open_tally(request, tmp_path):
    """Return a function that opens the same counters as another worker would."""
    if request.param == "file":
        return lambda: FileTally(tmp_path / "limits.tally")
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
        team = request.node.name
    else:
        url = request.getfixturevalue("redis_cluster").url.replace("redis://", "redis+cluster://")
        team = request.node.name

    class Own(RedisTally):
        """Counters of a team that no other test uses."""

        async def ask(self, asks, now):
            return await super().ask([replace(ask, tenant_id=team + ask.tenant_id) for ask in asks], now)

        async def settle(self, ask, generation, cost):
            await super().settle(replace(ask, tenant_id=team + ask.tenant_id), generation, cost)

    return lambda: Own(
        RedisLink(url, counters=StoreCounters(), pool_wait_seconds=60, socket_seconds=60, connect_seconds=60)
    )


def run(open_tally, work):
    """Run `work(one, other)` over two views of the same counters."""

    async def both():
        one, other = open_tally(), open_tally()
        try:
            return await work(one, other)
        finally:
            await one.close()
            await other.close()

    return asyncio.run(both())


def test_two_workers_never_count_past_a_limit_together(open_tally):
    async def work(one, other):
        got = [(await tally.ask([COUNT], NOW))[0] for _ in range(8) for tally in (one, other)]
        return [each.granted for each in got], got[-1].value

    granted, value = run(open_tally, work)
    assert granted == [1] * 10 + [0] * 6
    assert value == 10


def test_a_month_begins_anew_and_another_team_has_counts_of_its_own(open_tally):
    async def work(one, other):
        await one.ask([replace(COUNT, want=10)], NOW)
        full = (await other.ask([COUNT], NOW))[0].granted
        next_month = (await other.ask([replace(COUNT, period=202612)], NOW))[0]
        foreign = (await other.ask([replace(COUNT, tenant_id="team_b")], NOW))[0]
        return full, next_month.value, foreign.value

    assert run(open_tally, work) == (0, 1, 1)


def test_a_counter_that_was_lost_begins_at_what_is_recorded(open_tally):
    async def work(one, other):
        return [(await tally.ask([replace(COUNT, floor=9)], NOW))[0] for tally in (one, other)]

    first, second = run(open_tally, work)
    assert (first.granted, first.value) == (1, 10)
    assert (second.granted, second.value) == (0, 10)


def test_what_was_taken_ahead_can_be_given_back(open_tally):
    async def work(one, other):
        await one.ask([replace(COUNT, want=10)], NOW)
        await one.ask([replace(COUNT, want=-4)], NOW)
        return (await other.ask([replace(COUNT, want=4)], NOW))[0]

    assert run(open_tally, work).granted == 4


def test_one_limit_that_is_reached_leaves_the_others_uncharged(open_tally):
    async def work(one, other):
        await one.ask([replace(COUNT, want=10)], NOW)
        refused = await other.ask([RATE, COUNT], NOW)
        left = rate_left((await other.ask([RATE], NOW))[0].value, RATE.limit, NOW)
        return [each.granted for each in refused], left

    assert run(open_tally, work) == ([1, 0], 5)


def test_a_rate_may_be_used_at_once_and_comes_back_evenly(open_tally):
    async def work(one, other):
        at_once = [(await tally.ask([RATE], NOW))[0].granted for _ in range(4) for tally in (one, other)]
        later = [(await one.ask([RATE], NOW + seconds))[0].granted for seconds in (9.0, 10.0, 10.0, 20.5)]
        return at_once, later

    assert run(open_tally, work) == ([1] * 6 + [0] * 2, [0, 1, 0, 1])


def test_money_set_aside_counts_until_it_is_settled(open_tally):
    async def work(one, other):
        granted = [(await tally.ask([HOLD], NOW))[0].granted for tally in (one, other, one)]
        await one.settle(HOLD, generation_of(NOW), 100)
        again = (await other.ask([HOLD], NOW))[0]
        await other.settle(HOLD, generation_of(NOW), 100)
        await other.settle(HOLD, generation_of(NOW), 100)
        spent = (await one.ask([replace(HOLD, want=1)], NOW))[0].value
        return granted, again.granted, spent

    assert run(open_tally, work) == ([400, 400, 0], 400, 300)


def test_money_that_a_killed_worker_had_set_aside_is_free_again_within_an_hour(tmp_path):
    tally = FileTally(tmp_path / "limits.tally")
    tally.ask_now([HOLD], NOW)
    tally.ask_now([HOLD], NOW)
    # Not closed: its worker is gone.
    other = FileTally(tmp_path / "limits.tally")
    granted = [other.ask_now([HOLD], NOW + seconds)[0].granted for seconds in (1, HOLD_SECONDS - 1, 2 * HOLD_SECONDS)]
    assert granted == [0, 0, 400]


def test_redis_itself_forgets_money_that_was_set_aside(redis_server):
    ask = replace(HOLD, tenant_id="forgetting")

    async def work():
        tally = RedisTally(RedisLink(redis_server.url, counters=StoreCounters()))
        await tally.ask([ask], NOW)
        await tally.close()

    asyncio.run(work())
    with redis.Redis.from_url(redis_server.url, protocol=2) as connection:
        (held,) = connection.keys("*{forgetting}*held*")
        assert HOLD_SECONDS < connection.ttl(held) <= 2 * HOLD_SECONDS


def test_a_full_file_forgets_rates_before_counts(tmp_path):
    tally = FileTally(tmp_path / "limits.tally", slots=64)
    tally.ask_now([replace(COUNT, want=7)], NOW)
    for number in range(500):
        tally.ask_now([replace(RATE, name=f"key:{number}:rate")], NOW)
    assert tally.ask_now([COUNT], NOW)[0].value == 8
    asyncio.run(tally.close())
