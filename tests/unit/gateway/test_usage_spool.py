"""The spool: whole files or none, in order, with room or a clear refusal."""

from __future__ import annotations

import errno
import os

import msgspec
import pytest

from agentcache.gateway import usage_spool
from agentcache.gateway.ports import UsageEvent
from agentcache.gateway.usage_spool import UsageSpool, read_events, unfinished_files, waiting_files
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import Unavailable


def event(number, **members):
    return UsageEvent(
        **{
            "id": f"r{number}", "at_ms": number, "tenant_id": "t", "api_key_id": "k", "dialect": "openai",
            "endpoint": "chat.completions", "model": "m", "namespace": "default", "outcome": "exact", "status": 200,
            **members,
        }
    )  # fmt: skip


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def spool(tmp_path, clock):
    return UsageSpool(tmp_path / "usage", clock)


async def test_what_was_written_is_read_in_order(spool, tmp_path, clock):
    for number in range(3):
        await spool.write([event(2 * number), event(2 * number + 1)])
        clock.move(1)
    files = waiting_files(tmp_path / "usage")
    assert [one.id for path in files for one in read_events(path)] == [f"r{number}" for number in range(6)]
    assert read_events(files[0])[0] == event(0)


async def test_nothing_to_write_makes_no_file(spool, tmp_path):
    await spool.write([])
    assert list((tmp_path / "usage").iterdir()) == []


async def test_the_folder_and_its_files_are_the_servers_alone(spool, tmp_path):
    await spool.write([event(1)])
    [path] = waiting_files(tmp_path / "usage")
    assert (tmp_path / "usage").stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("failing", ["fsync", "open"])
async def test_a_full_disk_is_a_refusal_and_leaves_nothing_half_written(spool, tmp_path, monkeypatch, failing):
    def full(*_arguments, **_named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(usage_spool.os, failing, full)
    with pytest.raises(Unavailable, match="No space left"):
        await spool.write([event(1)])
    monkeypatch.undo()
    assert waiting_files(tmp_path / "usage") == []
    assert list(unfinished_files(tmp_path / "usage")) == []
    await spool.write([event(1)])
    assert len(waiting_files(tmp_path / "usage")) == 1


async def test_beyond_its_bound_the_spool_takes_no_more(spool, tmp_path, monkeypatch):
    monkeypatch.setattr(usage_spool, "FILES_MAX", 2)
    monkeypatch.setattr(usage_spool, "_COUNT_EVERY", 1)
    await spool.write([event(1)])
    await spool.write([event(2)])
    with pytest.raises(Unavailable):
        await spool.write([event(3)])
    waiting_files(tmp_path / "usage")[0].unlink()
    await spool.write([event(3)])


async def test_what_cannot_be_encoded_costs_no_other_event(spool, tmp_path):
    await spool.write([event(1, input_tokens=10**30, cost_usd_nanos=-(10**30), model="half \ud800"), event(2)])
    [path] = waiting_files(tmp_path / "usage")
    odd, plain = read_events(path)
    assert (odd.input_tokens, odd.cost_usd_nanos, odd.model) == (2**63 - 1, -(2**63 - 1), "half ?")
    assert plain == event(2)


def test_a_foreign_file_is_an_error(tmp_path):
    path = tmp_path / "1.usage"
    path.write_bytes(b"\xc1 not ours")
    with pytest.raises(msgspec.DecodeError):
        read_events(path)
    assert waiting_files(tmp_path / "nowhere") == []
