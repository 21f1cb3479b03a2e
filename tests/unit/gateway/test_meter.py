"""The meter: batches, refusals, bounds, and what a dead worker leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from agentcache.gateway import meter as meter_module
from agentcache.gateway.meter import EventCount, Meter, is_anyone_metering, lost_events
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.ports import UsageEvent
from agentcache.kit.clock import SystemClock
from agentcache.kit.errors import Unavailable


def event(number):
    return UsageEvent(
        id=f"r{number}", at_ms=number, tenant_id="t", api_key_id="k", dialect="openai", endpoint="chat.completions",
        model="m", namespace="default", outcome="exact", status=200,
    )  # fmt: skip


class Sink:
    """Takes batches; may refuse, and may have something done while it writes."""

    def __init__(self):
        self.batches = []
        self.refuses = False
        self.meanwhile = None

    async def write(self, events):
        if self.refuses:
            raise Unavailable
        if self.meanwhile is not None:
            self.meanwhile()
        await asyncio.sleep(0)
        self.batches.append([event.id for event in events])


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def meter(sink, tmp_path):
    return Meter(sink, Metrics(), SystemClock(), tmp_path)


async def test_events_are_handed_on_in_order_and_in_batches(meter, sink, monkeypatch):
    monkeypatch.setattr(meter_module, "BATCH_MAX", 3)
    for number in range(7):
        meter.record(event(number))
    await meter.flush()
    assert sink.batches == [["r0", "r1", "r2"], ["r3", "r4", "r5"], ["r6"]]


async def test_a_round_takes_what_was_waiting_and_leaves_the_rest_to_the_next(meter, sink, monkeypatch):
    monkeypatch.setattr(meter_module, "FLUSH_SECONDS", 0.01)
    numbers = iter(range(1, 1000))
    sink.meanwhile = lambda: meter.record(event(next(numbers)))
    meter.record(event(0))
    meter.start()
    while len(sink.batches) < 5:
        await asyncio.sleep(0.005)
    sink.meanwhile = None
    await meter.close()
    assert all(len(batch) == 1 for batch in sink.batches[:5])
    told = [identifier for batch in sink.batches for identifier in batch]
    assert list(dict.fromkeys(told)) == [f"r{number}" for number in range(next(numbers))]


async def test_what_the_sink_refuses_is_kept(meter, sink):
    meter.record(event(1))
    sink.refuses = True
    await meter.flush()
    meter.record(event(2))
    sink.refuses = False
    await meter.flush()
    assert sink.batches == [["r1", "r2"]]


async def test_too_many_waiting_events_drop_the_oldest_and_are_counted(meter, sink, monkeypatch, tmp_path):
    monkeypatch.setattr(meter_module, "WAITING_MAX", 2)
    sink.refuses = True
    for number in range(5):
        meter.record(event(number))
    await meter.flush()
    sink.refuses = False
    await meter.close()
    assert sink.batches == [["r3", "r4"]]
    assert meter.dropped == 3
    # They were dropped knowingly: the next start has nothing to tell of.
    assert lost_events(tmp_path) == {}


async def test_a_loss_is_told_once(tmp_path):
    count = EventCount(tmp_path)
    for _ in range(5):
        count.add_recorded()
    count.add_kept(2)
    assert lost_events(tmp_path) == {}, "its worker lives"
    count.close()
    (lost,) = lost_events(tmp_path).values()
    assert lost == 3
    assert lost_events(tmp_path) == {}


async def test_whether_anyone_is_metering_is_known(tmp_path):
    assert not is_anyone_metering(tmp_path)
    count = EventCount(tmp_path)
    count.add_recorded()
    assert is_anyone_metering(tmp_path)
    count.close()
    assert not is_anyone_metering(tmp_path), "what a dead process left behind is not alive"
