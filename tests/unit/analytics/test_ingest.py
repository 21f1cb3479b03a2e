import asyncio
import os

import pytest
from django.db import IntegrityError

from agentcache.analytics import ingest as ingest_module
from agentcache.analytics import services
from agentcache.analytics.ingest import UsageIngest
from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.gateway import ports
from agentcache.gateway.meter import EventCount
from agentcache.gateway.usage_spool import UsageSpool, spool_dir, waiting_files
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import SystemClock
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
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


class Way:
    """The whole way of an event: into the spool, out of it, into the database."""

    def __init__(self, data_dir, threads):
        self.folder = spool_dir(data_dir)
        self.spool = UsageSpool(self.folder, SystemClock())
        self.ingest = UsageIngest(self.folder, data_dir / "run", threads)

    async def write(self, events):
        await self.spool.write(events)
        return await self.ingest.take_all()


@pytest.fixture
def sink(tmp_path, threads):
    return Way(tmp_path, threads)


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
    assert {name: row[name] for name in written.__struct_fields__} == {
        name: getattr(written, name) for name in written.__struct_fields__
    }
    # What an event does not know yet is empty, never missing.
    assert {row[name] for name in set(row) - set(written.__struct_fields__)} <= {""}


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


async def test_a_batch_that_fails_midway_leaves_nothing_and_can_be_written_again(sink, stored, threads, monkeypatch):
    batch = [event(number) for number in range(10)]
    as_row = services._as_row
    monkeypatch.setattr(
        services, "_as_row", lambda one: as_row(one) if one.id != "req_7" else (*as_row(one)[:-1], None)
    )
    with pytest.raises(IntegrityError):
        await threads.run(lambda: services.record_events(batch))
    assert await stored() == []
    monkeypatch.undo()
    await sink.write(batch)
    assert len(await stored()) == 10


async def test_files_stay_while_the_database_is_away(sink, stored, tmp_path):
    closed = DatabaseThreads(answer_within_seconds=60)
    closed.close()
    await sink.spool.write([event(1)])
    with pytest.raises(Unavailable):
        await UsageIngest(sink.folder, tmp_path / "run", closed).take_all()
    assert len(waiting_files(sink.folder)) == 1
    assert await sink.ingest.take_all() == 1
    assert waiting_files(sink.folder) == []
    assert len(await stored()) == 1


async def test_a_file_taken_twice_changes_nothing(sink, stored):
    await sink.spool.write([event(1), event(2)])
    [path] = waiting_files(sink.folder)
    content = path.read_bytes()
    await sink.ingest.take_all()
    # As if the worker had been killed between the commit and the deletion.
    path.write_bytes(content)
    await sink.ingest.take_all()
    assert len(await stored()) == 2


async def test_an_unreadable_file_is_put_aside_and_holds_nothing_up(sink, stored):
    (sink.folder / "000-first.usage").write_bytes(b"\xc1")
    assert await sink.write([event(1)]) == 1
    assert [path.name for path in sink.folder.glob("*.unreadable")] == ["000-first.unreadable"]
    assert len(await stored()) == 1


async def test_only_one_process_takes_files_at_a_time(sink, tmp_path, threads):
    await sink.spool.write([event(1)])
    with ingest_module._alone(sink.folder) as is_alone:
        assert is_alone
        assert await sink.ingest.take_all() == 0
    assert await sink.ingest.take_all() == 1


async def test_an_event_the_database_refuses_does_not_hold_up_the_others(sink, stored, threads, monkeypatch):
    record = services.record_events

    def picky(events):
        if any(one.id == "req_2" for one in events):
            raise IntegrityError("never")
        return record(events)

    monkeypatch.setattr(services, "record_events", picky)
    assert await sink.write([event(1), event(2), event(3)]) == 3
    assert [row["id"] for row in await stored()] == ["req_1", "req_3"]
    gap = await threads.run(UsageGap.objects.get)
    assert (gap.worker, gap.lost) == ("refused", 1)


async def test_the_ingest_runs_until_told_to_stop_and_takes_the_rest_then(sink, stored):
    stop = asyncio.Event()
    running = asyncio.create_task(sink.ingest.run(stop))
    await sink.spool.write([event(1)])
    while waiting_files(sink.folder):
        await asyncio.sleep(0.02)
    await sink.spool.write([event(2)])
    stop.set()
    await running
    assert len(await stored()) == 2


async def test_a_cut_off_file_goes_when_nobody_can_be_writing_it(sink):
    old, young = sink.folder / "1.unfinished", sink.folder / "2.unfinished"
    for path in (old, young):
        path.touch()
    os.utime(old, (1, 1))
    await sink.ingest.take_all()
    assert not old.exists()
    assert young.exists()


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


async def test_events_lost_with_a_worker_are_on_record_once(sink, threads, tmp_path):
    count = EventCount(tmp_path / "run")
    for _ in range(17):
        count.add_recorded()
    count.close()  # with a difference between the counts, as after a kill
    for _ in range(2):
        await sink.ingest.note_losses()
    gap = await threads.run(UsageGap.objects.get)
    assert gap.lost == 17
