"""What only the embedded index promises: sealed files, bounds, cleaning, other processes, damage."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

import agentcache
from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index import sqlite
from agentcache.engine.semantic.index.port import IndexUnavailable
from agentcache.engine.semantic.index.rows import pack
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.kit.clock import ManualClock
from tests.support.entries import make_tenant
from tests.support.plans import watch_plans
from tests.support.questions import EMBEDDER, STORED_AT, digest, direction, make_row, near

PARTITION = digest("partition", "p")
SEALED = make_tenant("team_a", data_key=bytes(range(32)))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(STORED_AT)


@pytest.fixture
async def index(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteIndex]:
    index = SqliteIndex(tmp_path / "semantic.db", clock=clock, rows_max=100, place_rows_max=30)
    yield index
    await index.aclose()


async def keys(index: SqliteIndex, tenant: Tenant, name: str, limit: int = 3) -> list[bytes]:
    return [found.key for found in await index.nearest(tenant, PARTITION, EMBEDDER, direction(name), limit=limit)]


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("semantic.db"))


async def test_nothing_is_made_before_the_first_use(index: SqliteIndex, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    await index.count(SEALED)
    assert (tmp_path / "semantic.db").exists()


async def test_what_a_look_up_asks_the_file_is_not_planned_anew(index: SqliteIndex) -> None:
    await index.add(SEALED, make_row("kittens"))

    async def look_up(name: str) -> None:
        await index.find_normalised(SEALED, PARTITION, digest("normal", name))
        # Of a name that nothing was added for, so that the place is looked for each time.
        await index.nearest(SEALED, digest("partition", name), EMBEDDER, direction(name))
        await keys(index, SEALED, name)

    await look_up("kittens")
    planned = watch_plans(index._reader.connection())
    await look_up("kittens")
    assert planned
    planned.clear()
    for name in ("kittens", "cats", "dogs"):
        await look_up(name)
    assert not planned


async def test_question_writer_and_vector_are_sealed_in_the_file(index: SqliteIndex, tmp_path: Path) -> None:
    row = make_row(
        "kittens", question="What about the secret kittens?", writer="key_of_kittens", pieces=b"purring pieces"
    )
    values = pack(make_tenant("team_b"), row)
    assert values[40:200] in values
    await index.add(SEALED, row)
    content = stored(tmp_path)
    assert b"secret kittens" not in content
    assert b"key_of_kittens" not in content
    assert b"purring pieces" not in content
    assert values[40:200] not in content, "the vector itself"
    await index.add(make_tenant("team_b"), row)
    assert b"secret kittens" in stored(tmp_path), "without a data key nothing is sealed"


async def test_a_row_that_was_moved_or_changed_is_none(index: SqliteIndex, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        await index.add(SEALED, make_row(name))
    file = apsw.Connection(str(tmp_path / "semantic.db"))
    one, two, three = (digest("key", name) for name in ("one", "two", "three"))
    file.execute("UPDATE rows SET kept = (SELECT kept FROM rows WHERE key = ?) WHERE key = ?", (one, two))
    file.execute("UPDATE rows SET kept = x'00ff' WHERE key = ?", (three,))
    file.close()
    assert await keys(index, SEALED, "one") == [one]
    assert await keys(index, SEALED, "two") == await keys(index, SEALED, "three") == []
    assert await index.find_normalised(SEALED, PARTITION, digest("normal", "two")) is None
    assert index.counters.corrupt >= 3


async def test_rows_in_clear_are_none_for_a_tenant_whose_rows_are_sealed(index: SqliteIndex) -> None:
    in_clear = make_tenant("team_a")
    await index.add(in_clear, make_row("one"))
    assert await keys(index, SEALED, "one") == []
    await index.add(SEALED, make_row("one"))
    assert len(await keys(index, SEALED, "one")) == 1
    assert await keys(index, make_tenant("team_a", data_key=bytes(32)), "one") == []


async def test_a_partition_keeps_its_newest_rows(index: SqliteIndex, tmp_path: Path) -> None:
    tenant = make_tenant()
    for number in range(40):
        await index.add(tenant, make_row(f"row {number}"))
    assert await index.count(tenant) <= 31
    assert await keys(index, tenant, "row 39") == [digest("key", "row 39")]
    assert await keys(index, tenant, "row 0") == []


async def test_the_whole_is_bounded_at_the_cost_of_who_has_most(index: SqliteIndex, clock: ManualClock) -> None:
    large, small = make_tenant("team_large"), make_tenant("team_small")
    for number in range(20):
        await index.add(small, make_row(f"row {number}"))
    for number in range(150):
        await index.add(large, make_row(f"row {number}", partition=digest(f"partition {number % 10}")))
    clock.move(sqlite._HOUSEKEEPING_SECONDS + 1)
    async with asyncio.timeout(60):
        while await index.count(large) + await index.count(small) > 100:
            clock.move(sqlite._HOUSEKEEPING_SECONDS + 1)
            await asyncio.sleep(0.05)
    assert await index.count(small) == 20
    assert await index.count(large) == 80


async def test_expired_rows_and_what_stood_around_them_leave_the_file(
    index: SqliteIndex, clock: ManualClock, tmp_path: Path
) -> None:
    tenant = make_tenant()
    await index.add(tenant, make_row("short", expires_at=STORED_AT + 60))
    await index.add(tenant, make_row("long", partition=digest("partition", "q")))
    await index.quarantine(tenant, digest("key", "short"), until=STORED_AT + 60, reason="disagreed")
    clock.move(61)
    file = apsw.Connection(str(tmp_path / "semantic.db"))

    def counted() -> list[object]:
        tables = ("rows", "places", "quarantine")
        return [file.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables]

    async with asyncio.timeout(60):
        while counted() != [1, 1, 0]:
            clock.move(sqlite._HOUSEKEEPING_SECONDS + 1)
            await asyncio.sleep(0.05)
    assert file.execute("SELECT rows FROM tenants").fetchall() == [(1,)]
    file.close()


async def test_a_whole_crowd_that_went_leaves_the_next_best(index: SqliteIndex, tmp_path: Path) -> None:
    """Copies of rows that another process removed hide nothing, however many there are."""
    tenant, asked = make_tenant(), direction("asked")
    other = SqliteIndex(tmp_path / "semantic.db", clock=ManualClock(STORED_AT), rows_max=10_000)
    crowd = [make_row(f"crowd {number}", near(asked, 0.99, f"crowd {number}")) for number in range(29)]
    for row in (make_row("left", near(asked, 0.7)), *crowd):
        await index.add(tenant, row)
    assert len(await keys(index, tenant, "asked", limit=100)) == 30
    await other.remove(tenant, [row.key for row in crowd])
    assert await keys(index, tenant, "asked") == [digest("key", "left")]
    await other.aclose()


async def test_another_process_sees_and_removes_the_same_rows(index: SqliteIndex, tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.kit.clock import ManualClock
from tests.support.entries import make_tenant
from tests.support.plans import watch_plans
from tests.support.questions import EMBEDDER, STORED_AT, digest, direction, make_row

async def main():
    index = SqliteIndex(Path(sys.argv[1]), clock=ManualClock(STORED_AT), rows_max=100)
    tenant = make_tenant("team_a", data_key=bytes(range(32)))
    found = await index.nearest(tenant, digest("partition", "p"), EMBEDDER, direction("one"))
    assert [each.question for each in found] == ["What about one?"], found
    await index.remove(tenant, [digest("key", "one")])
    await index.quarantine(tenant, digest("key", "two"), until=None, reason="reported")
    await index.add(tenant, make_row("three"))
    await index.aclose()

asyncio.run(main())
"""
    for name in ("one", "two"):
        await index.add(SEALED, make_row(name))
        assert await keys(index, SEALED, name) == [digest("key", name)]
    # Once more: by now the copy in memory is known to be of the whole partition.
    assert await keys(index, SEALED, "two") == [digest("key", "two")]
    command = [sys.executable, "-c", program, str(tmp_path / "semantic.db")]
    root, source = Path(__file__).parents[5], Path(agentcache.__file__).parents[1]
    ended = await asyncio.to_thread(
        subprocess.run, command, cwd=root, env={"PYTHONPATH": f"{source}:{root}"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert await keys(index, SEALED, "three") == [digest("key", "three")]
    assert await keys(index, SEALED, "one") == await keys(index, SEALED, "two") == []


async def test_a_damaged_file_is_set_aside_and_begun_anew(index: SqliteIndex, tmp_path: Path) -> None:
    tenant = make_tenant()
    await index.add(tenant, make_row("one"))
    assert len(await keys(index, tenant, "one")) == 1
    index._file.quarantine(index._file.epoch, "found damaged by a test")
    assert await keys(index, tenant, "one") == []
    await index.add(tenant, make_row("two"))
    assert await keys(index, tenant, "two") == [digest("key", "two")], "and no copy of the former file is searched"
    assert any(".corrupt-" in path.name for path in tmp_path.iterdir())


async def test_a_closed_index_says_so(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "semantic.db", clock=ManualClock(STORED_AT), rows_max=100)
    await index.aclose()
    with pytest.raises(IndexUnavailable):
        await index.find_normalised(make_tenant(), PARTITION, digest("normal", "one"))


async def test_copies_stay_within_their_memory(index: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "COPIES_BYTES", 40_000)
    tenant = make_tenant()
    for number in range(20):
        partition = digest("partition", str(number))
        await index.add(tenant, make_row(f"row {number}", partition=partition))
        await index.nearest(tenant, partition, EMBEDDER, direction(f"row {number}"))
    assert 0 < index._copies_bytes <= 40_000
    assert len(index._copies) < 20
    found = await index.nearest(tenant, digest("partition", "0"), EMBEDDER, direction("row 0"))
    assert len(found) == 1, "what was dropped is read again"


async def test_the_nearest_go_into_quarantine_with_a_row_and_what_lies_behind_them_is_found(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ALIKE_MAX", 4)
    asked, first = direction("asked"), digest("key", "0")
    for number in range(20):
        repeats = first if 0 < number < 10 else b""
        await index.add(SEALED, make_row(f"{number}", near(asked, 0.99 - number / 100, f"{number}"), repeats=repeats))
    await index.quarantine(SEALED, first, until=None, reason="reported")
    assert await keys(index, SEALED, "asked") == [digest("key", f"{number}") for number in (5, 6, 7)]
    for number in range(5, 18):
        await index.quarantine(SEALED, digest("key", f"{number}"), until=None, reason="reported")
    assert await keys(index, SEALED, "asked") == [digest("key", "18"), digest("key", "19")]
    await index.release(SEALED, first)
    assert await keys(index, SEALED, "asked") == [digest("key", f"{number}") for number in (0, 1, 2)]
