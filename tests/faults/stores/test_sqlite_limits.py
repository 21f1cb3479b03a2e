"""C22, and what several workers do to one file: size bound, tenant shares, short write locks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from agentcache.engine.entries import Selector
from agentcache.engine.stores import sqlite_writes
from agentcache.engine.stores.port import Put
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock, SystemClock
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant
from tests.support.reliability import record

CAP = 24 << 20


def open_sqlite(folder: Path, clock: ManualClock, **options: Any) -> SqliteEntries:
    settings: dict[str, Any] = {"max_bytes": CAP, "entry_max_bytes": 8 << 20, "grace_seconds": 60}
    store = SqliteEntries(folder / "cache.db", clock=clock, **(settings | options))
    store.open()
    return store


def file_bytes(folder: Path) -> int:
    return (folder / "cache.db").stat().st_size


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("mixed", [1, 10, 100, 1000, 2000, 5000, 20_000, 100_000, 1_000_000, 4_000_000]),
        ("small", [200, 500, 900]),
        ("chat", [1500, 2000, 2500]),
        ("embedding", [6000, 8000, 9000, 12_000]),
    ],
)
async def test_c22_the_file_stays_within_its_bound(tmp_path: Path, kind: str, sizes: list[int]) -> None:
    clock = ManualClock(STORED_AT)
    store = open_sqlite(tmp_path, clock, max_bytes=CAP if kind == "mixed" else CAP // 4)
    cap = CAP if kind == "mixed" else CAP // 4
    chance = random.Random(3)
    tenant = make_tenant()
    largest = written = number = 0
    while written < 2.5 * cap:
        batch = []
        for _ in range(10 if kind == "mixed" else 100):
            size = chance.choice(sizes)
            number += 1
            written += size + 600
            batch.append(store.put(tenant, make_entry(number, chance.randbytes(size), label=f"prompt {number}")))
            if written > 2.5 * cap:
                break
        assert set(await asyncio.gather(*batch)) <= {Put.STORED, Put.TOO_LARGE}
        largest = max(largest, file_bytes(tmp_path))
        clock.move(1)
    # The newest are there, the oldest are gone, and what is there fills the room it was given.
    assert (await store.get(tenant, make_key(1))).entry is None
    assert store.counters.evicted > 0
    stats = await store.stats(tenant)
    await store.close()
    final = file_bytes(tmp_path)
    assert max(largest, final) <= cap * 1.05
    assert final >= cap * 0.5
    record(f"C22 {kind}", cap_bytes=cap, file_bytes_max=max(largest, final), body_bytes=stats.body_bytes,
           overshoot_percent=round(100 * max(0.0, max(largest, final) / cap - 1), 1))  # fmt: skip


async def test_c22_a_hot_tenant_evicts_its_own(tmp_path: Path) -> None:
    clock = ManualClock(STORED_AT)
    store = open_sqlite(tmp_path, clock, max_bytes=8 << 20)
    quiet = [make_tenant(f"quiet_{number}") for number in range(3)]
    hot = make_tenant("hot")
    # Each quiet tenant holds about half of its share (a quarter of the bound), all of it older than anything hot.
    for tenant in quiet:
        await asyncio.gather(*(store.put(tenant, make_entry(i, os.urandom(4000))) for i in range(150)))
    clock.move(10)
    for first in range(0, 3000, 100):
        await asyncio.gather(*(store.put(hot, make_entry(i, os.urandom(4000))) for i in range(first, first + 100)))
    foreign = 0
    for tenant in quiet:
        foreign += 150 - (await store.stats(tenant)).entries
    assert foreign == 0
    # Room that the quiet do not use is lent.
    assert (await store.stats(hot)).body_bytes > (8 << 20) / 4
    assert (await store.get(hot, make_key(2999))).entry is not None
    await store.close()
    record("C22 hot tenant", foreign_evictions=foreign)


async def test_what_was_used_last_stays(tmp_path: Path) -> None:
    clock = ManualClock(STORED_AT)
    store = open_sqlite(tmp_path, clock, max_bytes=2 << 20)
    tenant = make_tenant()
    for i in range(200):
        await store.put(tenant, make_entry(i, os.urandom(4000)))
    clock.move(5)
    loved = range(0, 200, 10)
    for i in loved:
        await store.get(tenant, make_key(i))
    clock.move(5)
    for i in range(200, 500):
        await store.put(tenant, make_entry(i, os.urandom(4000)))
    assert store.counters.evicted > 100
    kept = [i for i in loved if (await store.get(tenant, make_key(i))).entry is not None]
    unloved = [i for i in range(200) if i not in loved and (await store.get(tenant, make_key(i))).entry is not None]
    assert len(kept) == len(loved)
    assert len(unloved) < 60
    await store.close()


async def test_a_smaller_bound_after_a_restart_is_reached_by_sweeping(tmp_path: Path) -> None:
    clock = ManualClock(STORED_AT)
    store = open_sqlite(tmp_path, clock)
    tenant = make_tenant()
    await asyncio.gather(*(store.put(tenant, make_entry(i, os.urandom(4000))) for i in range(1000)))
    await store.close()
    store = open_sqlite(tmp_path, clock, max_bytes=2 << 20)
    assert await store.sweep() > 500
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    assert sqlite_writes.total_bytes(connection) <= 2 << 20
    connection.close()
    await store.close()


async def test_removing_much_is_done_in_short_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Slices of no time at all: each transaction removes one step, and others get in between.
    monkeypatch.setattr(sqlite_writes, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_writes, "_REMOVED_AT_ONCE", 1)
    clock = ManualClock(STORED_AT)
    store, other = open_sqlite(tmp_path, clock), open_sqlite(tmp_path, clock)
    tenant = make_tenant()
    await asyncio.gather(*(store.put(tenant, make_entry(i, tags=("t",))) for i in range(300)))
    removing = asyncio.create_task(store.invalidate(tenant, Selector(tags=("t",))))
    between = 0
    # Acknowledged before its rows are gone: what has to be short is each transaction that removes some of them.
    while not removing.done() or store._tasks:
        await other.put(tenant, make_entry("other"))
        between += 1
    assert await removing == 300
    assert between > 5
    assert (await other.stats(tenant)).entries == 1
    await store.close()
    await other.close()


def _work(folder: Path, worker: int, ready: Any) -> None:
    async def run() -> None:
        store = SqliteEntries(
            folder / "cache.db", clock=SystemClock(), max_bytes=6 << 20, entry_max_bytes=1 << 20, grace_seconds=60
        )
        store.open()
        ready.wait()
        tenant = make_tenant(f"team_{worker % 2}")
        chance = random.Random(worker)
        for step in range(40):
            names = [chance.randrange(200) for _ in range(20)]
            await asyncio.gather(
                *(store.put(tenant, make_entry(n, b"%d" % n * 700, tags=(f"g{n % 5}",))) for n in names)
            )
            for n in names:
                entry = (await store.get(tenant, make_key(n))).entry
                assert entry is None or entry.body == b"%d" % n * 700
            if step % 10 == 3:
                await store.invalidate(tenant, Selector(tags=(f"g{chance.randrange(5)}",)))
            if step % 10 == 7:
                await store.sweep()
        await store.close()

    asyncio.run(run())


def test_f3_many_workers_writing_and_checkpointing_leave_a_sound_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(4)
    workers = [context.Process(target=_work, args=(tmp_path, worker, ready)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert list(tmp_path.glob("*.corrupt-*")) == []
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    totals = connection.execute(
        "SELECT (SELECT sum(disk_bytes) FROM catalog), (SELECT value FROM store WHERE name = 'bytes'),"
        " (SELECT sum(bytes) FROM tenants)"
    ).fetchall()
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM catalog), (SELECT count(*) FROM entries), (SELECT sum(entries) FROM scopes),"
        " (SELECT count(DISTINCT id) FROM links)"
    ).fetchall()
    connection.close()
    assert len(set(totals[0])) == 1
    assert len(set(counts[0])) == 1
    record("F3", workers=4, corruption=0)
