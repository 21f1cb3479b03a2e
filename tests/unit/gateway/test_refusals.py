"""Refused calls: each is counted, few become rows."""

from __future__ import annotations

import asyncio

import pytest

from agentcache.gateway import limit_errors, refusals
from agentcache.gateway.authenticate import AddressNotAllowed, MissingScope
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.ports import UsageEvent
from agentcache.gateway.refusals import KINDS_MAX, KINDS_PER_KEY_MAX, REFUSALS, Refusals, is_refusal
from agentcache.kit.clock import SystemClock
from agentcache.kit.errors import AgentCacheError


class Sink:
    def __init__(self):
        self.events = []

    async def write(self, events):
        self.events += events


class Bench:
    def __init__(self, window_seconds=3600.0):
        self.sink, self.metrics = Sink(), Metrics()
        self.meter = Meter(self.sink, self.metrics, SystemClock())
        self.refusals = Refusals(self.meter, window_seconds)
        self.asked = 0

    def refuse(self, times=1, key="k", reason="rate_limited", **members):
        for _ in range(times):
            self.asked += 1
            self.refusals.record(
                UsageEvent(
                    id=f"r{self.asked}", at_ms=self.asked, tenant_id="t", api_key_id=key, dialect="openai",
                    **{"endpoint": "chat.completions", "model": "m", "namespace": "default"} | members,
                    outcome="refused", status=429, reason=reason,
                )
            )  # fmt: skip

    async def rows(self):
        await self.meter.flush()
        return [(event.requests, event.reason, event.agent) for event in self.sink.events]

    def counted(self):
        return {name: sum(histogram.buckets) for name, histogram in self.metrics.mine.latency.items()}


async def test_the_first_is_a_row_at_once_and_the_rest_of_a_window_are_one():
    bench = Bench()
    bench.refuse(1_000)
    bench.refuse(2, reason="quota_exceeded")
    assert await bench.rows() == [(1, "rate_limited", ""), (1, "quota_exceeded", "")]
    bench.refusals.hand_on()
    assert (await bench.rows())[2:] == [(999, "rate_limited", ""), (1, "quota_exceeded", "")]
    assert bench.counted() == {"openai|refused": 1_002}
    bench.refusals.close()


async def test_made_up_agents_models_and_namespaces_make_no_more_rows():
    bench = Bench()
    for number in range(5_000):
        bench.refuse(agent=f"a{number}", model=f"m{number}", namespace=f"n{number}")
    bench.refusals.close()
    rows = await bench.rows()
    assert sum(requests for requests, _reason, _agent in rows) == 5_000
    assert len(rows) <= 2 * (KINDS_PER_KEY_MAX + 1)


async def test_memory_is_bounded_however_many_keys_are_refused():
    bench = Bench()
    for number in range(3 * KINDS_MAX):
        bench.refuse(key=f"k{number}")
        assert len(bench.refusals._kinds) <= KINDS_MAX
        assert len(bench.refusals._kinds_of_key) <= KINDS_MAX
    bench.refusals.close()
    assert sum(requests for requests, _reason, _agent in await bench.rows()) == 3 * KINDS_MAX


async def test_a_window_ends_by_itself_and_what_goes_on_stays_summed_up():
    bench = Bench(window_seconds=0.01)
    bench.refuse(10)
    while len(await bench.rows()) < 2:
        await asyncio.sleep(0.005)
    assert await bench.rows() == [(1, "rate_limited", ""), (9, "rate_limited", "")]
    while bench.refusals._timer is not None:
        await asyncio.sleep(0.005)
    # It had stopped: the next is news again.
    bench.refuse(1)
    assert (await bench.rows())[-1] == (1, "rate_limited", "")
    assert len(await bench.rows()) == 3
    bench.refusals.close()


@pytest.mark.parametrize(
    "error",
    [
        limit_errors.RateLimited,
        limit_errors.QuotaExceeded,
        limit_errors.BudgetExceeded,
        limit_errors.LimitsUnavailable,
        MissingScope,
        AddressNotAllowed,
    ],
)
def test_every_door_that_turns_callers_away_is_told_in_words(error):
    assert is_refusal(error())
    assert REFUSALS[error.code].endswith(".")


def test_other_errors_are_no_refusals():
    assert not is_refusal(AgentCacheError())
    assert refusals.is_refusal.__doc__
