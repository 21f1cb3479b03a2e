import pytest

from agentcache.analytics import services
from agentcache.analytics.jobs import RETENTION_DAYS, prune_events
from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.analytics.usage_sink import DjangoUsageSink
from agentcache.gateway import ports
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import Unavailable

AT_MS = 1_800_000_000_000


def event(number, **members):
    return ports.UsageEvent(
        **{
            "id": f"req_{number}",
            "at_ms": AT_MS,
            "tenant_id": "team",
            "api_key_id": "key",
            "dialect": "openai",
            "endpoint": "chat.completions",
            "model": "gpt-5-mini",
            "namespace": "default",
            "outcome": "exact",
            "status": 200,
            **members,
        }
    )


@pytest.fixture
def threads(project):
    threads = DatabaseThreads()
    yield threads
    threads.close()


@pytest.fixture
def sink(threads):
    return DjangoUsageSink(threads)


@pytest.fixture
def stored(threads):
    async def read():
        return await threads.run(lambda: list(UsageEvent.objects.order_by("id").values()))

    return read


async def test_every_member_of_an_event_is_kept(sink, stored):
    members = {
        "input_tokens": 3,
        "output_tokens": 5,
        "cost_usd_nanos": 7,
        "saved_usd_nanos": 11,
        "latency_us": 13,
        "upstream_us": 17,
        "agent": "nightly",
    }
    written = event(1, **members)
    await sink.write([written])
    [row] = await stored()
    row["tenant_id"] = row.pop("team_id")
    assert row == {name: getattr(written, name) for name in written.__struct_fields__}


async def test_a_batch_written_again_changes_nothing(sink, stored):
    batch = [event(number) for number in range(50)]
    await sink.write(batch)
    await sink.write(batch)
    await sink.write([*batch[25:], *(event(number) for number in range(50, 75))])
    assert len(await stored()) == 75


async def test_an_event_twice_in_one_batch_is_kept_once(sink, stored):
    await sink.write([event(1), event(1, status=500)])
    [row] = await stored()
    assert row["status"] == 200


async def test_a_batch_that_fails_midway_leaves_nothing_and_can_be_written_again(sink, stored, monkeypatch):
    batch = [event(number) for number in range(10)]
    as_row = services._as_row
    monkeypatch.setattr(
        services, "_as_row", lambda one: as_row(one) if one.id != "req_7" else (*as_row(one)[:-1], None)
    )
    with pytest.raises(Exception, match=r"(?i)null"):
        await sink.write(batch)
    assert await stored() == []
    monkeypatch.undo()
    await sink.write(batch)
    assert len(await stored()) == 10


async def test_nothing_to_write_costs_no_database(project):
    threads = DatabaseThreads()
    threads.close()
    await DjangoUsageSink(threads).write([])
    with pytest.raises(Unavailable):
        await DjangoUsageSink(threads).write([event(1)])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("nul\0byte", "nul�byte"),
        ("half a pair \ud800", "half a pair ?"),
        ("名前", "名前"),
        ("x" * 1000, "x" * 256),
        ("line\nbreak", "line\nbreak"),
    ],
    ids=["nul", "surrogate", "unicode", "long", "line break"],
)
async def test_text_of_callers_never_holds_up_a_batch(sink, stored, given, kept):
    await sink.write([event(1, model=given), event(2)])
    rows = await stored()
    assert rows[0]["model"] == kept
    assert len(rows) == 2


async def test_absurd_numbers_never_hold_up_a_batch(sink, stored):
    await sink.write([event(1, input_tokens=10**30, cost_usd_nanos=-(10**30))])
    [row] = await stored()
    assert row["input_tokens"] == 2**63 - 1
    assert row["cost_usd_nanos"] == -(2**63 - 1)


async def test_events_lost_with_a_worker_are_on_record(sink, threads):
    await sink.record_gap("meter-42", 17)
    gap = await threads.run(UsageGap.objects.get)
    assert (gap.worker, gap.lost) == ("meter-42", 17)


async def test_events_go_after_their_retention_and_not_before(sink, stored, threads, monkeypatch):
    monkeypatch.setattr(services, "_PRUNE_ROWS", 3)
    day_ms = 86_400_000
    old = [event(number, at_ms=AT_MS - RETENTION_DAYS * day_ms - 1) for number in range(7)]
    await sink.write([*old, event(100, at_ms=AT_MS - RETENTION_DAYS * day_ms), event(101)])
    await prune_events(threads, ManualClock(AT_MS / 1000))
    assert [row["id"] for row in await stored()] == ["req_100", "req_101"]
