"""F1, F3, F4, F7 and C6 for the embedded store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import structlog

from agentcache.engine.entries import Selector
from agentcache.engine.stores import sqlite_file
from agentcache.engine.stores.port import Put, StoreFull, StoreUnavailable, UnsuitableStore
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.engine.stores.sqlite_file import SQLITE_MINIMUM, CacheFile, require_sqlite
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant
from tests.support.reliability import record
from tests.support.tiers import count

TENANT = make_tenant()
ROOT = Path(__file__).resolve().parents[3]


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def open_sqlite(folder: Path, **options: Any) -> SqliteEntries:
    settings: dict[str, Any] = {"max_bytes": 1 << 28, "entry_max_bytes": 1 << 20, "grace_seconds": 60}
    store = SqliteEntries(folder / "cache.db", clock=ManualClock(STORED_AT), **(settings | options))
    store.open()
    return store


def test_f1_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_writers.py")
    ran = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(count(30, 300)), "7"],
        capture_output=True, text=True, timeout=count(100, 1000), env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["writes"] > 300
    bad = {name: figures[name] for name in ("lost", "torn", "damaged", "wrong_totals")}
    assert not any(bad.values()), figures
    record("F1", **figures)


def test_f3_an_old_library_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(UnsuitableStore, match=r"3\.51\.2 is too old.*pip install -U apsw"):
        open_sqlite(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_f3_the_guard_tells_versions_apart() -> None:
    for bad in ("3.7.0", "3.40.1", "3.51.2", "2.8.17"):
        with pytest.raises(UnsuitableStore):
            require_sqlite(bad)
    for good in ("3.51.3", "3.52.0", "3.54.1", "4.0.0", apsw.sqlite_lib_version()):
        require_sqlite(good)
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        with pytest.raises(UnsuitableStore):
            require_sqlite(sqlite3.sqlite_version)


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    await store.close()
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "cache.db").read_bytes()
    with pytest.raises(UnsuitableStore, match="newer AgentCache"):
        open_sqlite(tmp_path)
    assert (tmp_path / "cache.db").read_bytes() == before


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    connection.execute("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)")
    connection.close()
    with pytest.raises(UnsuitableStore, match="another program"):
        open_sqlite(tmp_path)
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    assert connection.execute("SELECT x FROM precious").fetchall() == [(1,)]
    connection.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UnsuitableStore, match="cannot be opened"):
        open_sqlite(tmp_path / "file" / "below")


# F4: the disk is full


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 16 MiB: a tmpfs where that may be mounted, else a page limit, under which SQLite says the same."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        connect = CacheFile.connect

        def connect_with_limit(self: CacheFile, **options: Any) -> apsw.Connection:
            connection = connect(self, **options)
            ballast = sum(path.stat().st_size for path in folder.glob("ballast"))
            connection.execute(f"PRAGMA max_page_count = {((12 << 20) - ballast) // sqlite_file.PAGE_BYTES}")
            return connection

        monkeypatch.setattr(CacheFile, "connect", connect_with_limit)
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def free(ballast: Path, store: SqliteEntries) -> None:
    ballast.unlink()
    if not ballast.parent.is_mount():
        # The fallback's page limit is set when connecting; a real disk needs no such help.
        store.writer._link.drop()


async def test_f4_a_full_disk_refuses_writes_serves_reads_and_recovers(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 << 20))
    store = open_sqlite(small_disk)
    refused = stored = served = 0
    for i in range(300):
        try:
            stored += await store.put(TENANT, make_entry(i, os.urandom(60_000))) is Put.STORED
        except StoreFull:
            refused += 1
        served += (await store.get(TENANT, make_key(0))).entry is not None
        await store.ping()
    assert refused > 0
    assert stored > 0
    assert served == 300
    with pytest.raises(StoreFull):
        for i in range(300, 600):
            await store.put(TENANT, make_entry(i, os.urandom(60_000)))
    # What was acknowledged is all there.
    found = [(await store.get(TENANT, make_key(i))).entry is not None for i in range(300)]
    assert sum(found) == stored
    free(ballast, store)
    freed_at = time.monotonic()
    while True:
        with contextlib.suppress(StoreFull):
            if await store.put(TENANT, make_entry("after", b"x" * 60_000)) is Put.STORED:
                break
        assert time.monotonic() - freed_at < 60
        await asyncio.sleep(0.05)
    recovered = time.monotonic() - freed_at
    assert (await store.get(TENANT, make_key("after"))).entry is not None
    await store.close()
    record("F4", calls_served_percent=100, refused=refused, stored=stored, recovery_seconds=round(recovered, 3))


async def test_f4_a_purge_on_a_full_disk_is_done_or_refused_and_works_once_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 << 20))
    store = open_sqlite(small_disk)
    with contextlib.suppress(StoreFull):
        for i in range(600):
            await store.put(TENANT, make_entry(i, os.urandom(60_000), tags=("t",)))
    try:
        await store.invalidate(TENANT, Selector(tags=("t",)))
    except StoreFull:
        free(ballast, store)
        await store.invalidate(TENANT, Selector(tags=("t",)))
    assert (await store.stats(TENANT)).entries == 0
    assert (await store.get(TENANT, make_key(0))).entry is None
    assert await store.put(TENANT, make_entry("after", b"x" * 60_000)) is Put.STORED
    await store.close()


# Damaged files (F7)


async def seeded_files(folder: Path, with_log: bool) -> dict[int, bytes]:
    """Leave a cache file, and its write-ahead log where wanted, as a killed server would."""
    store = open_sqlite(folder)
    bodies = {i: random.Random(i).randbytes(200 + 97 * i % 9000) for i in range(150)}
    # One commit each: damage to the log then costs what came after it, not everything.
    for i, body in bodies.items():
        await store.put(TENANT, make_entry(i, body, tags=("t",)))
    if with_log:
        live = folder / "live"
        live.mkdir()
        for path in files(folder, "cache.db*"):
            shutil.copy(path, live)
        await store.close()
        for path in live.iterdir():
            shutil.move(path, folder / path.name)
    else:
        await store.close()
    return bodies


def damage(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    kind = chance.randrange(4)
    if kind == 0:
        del content[chance.randrange(len(content)) :]
    elif kind == 1:
        start = chance.randrange(len(content))
        content[start : start + 4096] = chance.randbytes(len(content[start : start + 4096]))
    else:
        for _ in range(chance.choice([1, 1, 8, 64])):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["cache.db", "cache.db-wal"])
async def test_f7_a_damaged_file_never_yields_a_wrong_value(tmp_path: Path, part: str) -> None:
    pristine = tmp_path / "pristine"
    pristine.mkdir()
    bodies = await seeded_files(pristine, with_log=part.endswith("-wal"))
    wrong = misses = hits = quarantined = 0
    mutations = 60
    with structlog.testing.capture_logs() as lines:
        for seed in range(mutations):
            folder = tmp_path / f"run{seed}"
            shutil.copytree(pristine, folder)
            damage(folder / part, random.Random(seed))
            store = open_sqlite(folder)
            for i, body in bodies.items():
                try:
                    entry = (await store.get(TENANT, make_key(i))).entry
                except StoreUnavailable:
                    entry = None
                misses += entry is None
                hits += entry is not None
                wrong += entry is not None and (entry.body != body or entry.meta.label != str(i))
            # Writing and selecting may come upon damage that reading did not; after that it works.
            for _ in range(3):
                with contextlib.suppress(StoreUnavailable):
                    await store.put(TENANT, make_entry("after"))
                    await store.invalidate(TENANT, Selector(tags=("t",)))
            assert (await store.get(TENANT, make_key("after"))).entry == make_entry("after")
            quarantined += store.counters.quarantined
            await store.close()
            shutil.rmtree(folder)
    assert wrong == 0
    assert hits > 0
    assert len([line for line in lines if line["event"] == "cache file set aside"]) == quarantined
    if part == "cache.db":
        assert misses > 0
        assert quarantined > 0
    record(f"F7 {part}", mutations=mutations, silent_wrong_values=wrong, hits=hits, misses=misses,
           quarantined=quarantined)  # fmt: skip


async def test_f7_text_that_is_no_text_means_a_damaged_file(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    await store.put(TENANT, make_entry(1))
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    connection.execute("UPDATE entries SET stale_at = CAST(x'E8' AS TEXT)")
    connection.close()
    store._recent.clear()
    with pytest.raises(StoreUnavailable):
        await store.get(TENANT, make_key(1))
    assert store.counters.quarantined == 1
    assert (await store.get(TENANT, make_key(1))).entry is None
    assert await store.put(TENANT, make_entry(1)) is Put.STORED
    await store.close()


async def test_f7_damage_while_running_moves_every_worker_to_the_new_file(tmp_path: Path) -> None:
    one, two = open_sqlite(tmp_path), open_sqlite(tmp_path)
    for i in range(200):
        await one.put(TENANT, make_entry(i, b"x" * 3000))
    mark = (await two.get(TENANT, make_key(0))).mark
    assert (await two.get(TENANT, make_key(0))).entry is not None
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (tmp_path / "cache.db").open("r+b") as file:
        file.seek(sqlite_file.PAGE_BYTES)
        file.write(os.urandom((tmp_path / "cache.db").stat().st_size - sqlite_file.PAGE_BYTES))
    one._reader.drop()
    one._cursor = None
    with pytest.raises(StoreUnavailable):
        await one.get(TENANT, make_key(1))
    assert one.counters.quarantined == 1
    # The other worker has the old file open; it must not serve from it, nor fill from its marks.
    assert (await two.get(TENANT, make_key(0))).entry is None
    assert await two.put(TENANT, make_entry(0), mark) is Put.SUPERSEDED
    fresh = (await two.get(TENANT, make_key(0))).mark
    assert await two.put(TENANT, make_entry(0), fresh) is Put.STORED
    assert (await one.get(TENANT, make_key(0))).entry == make_entry(0)
    assert await one.invalidate(TENANT, Selector()) == 1
    assert (await two.get(TENANT, make_key(0))).entry is None
    await one.close()
    await two.close()


async def test_only_the_latest_damaged_files_are_kept(tmp_path: Path) -> None:
    for _ in range(5):
        (tmp_path / "cache.db").write_bytes(b"not a database" * 1000)
        store = open_sqlite(tmp_path)
        await store.put(TENANT, make_entry("a"))
        await store.close()
    assert len(files(tmp_path, "cache.db.corrupt-*")) == sqlite_file.QUARANTINED_FILES_KEPT


# C6: nothing that is stored is ever code


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


async def test_c6_planted_rows_are_misses_and_are_removed(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    goal = tmp_path / "exploded"
    values: list[bytes | str | int | None] = [
        b"", b"AC\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff" + bytes(8), b'{"lc": 1, "type": "constructor"}', "text", 5,
    ]  # fmt: skip
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        bomb = pickle.dumps(_Bomb(str(goal)), protocol)
        values += [bomb, b"AC\x01\x00" + bomb]
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    for number, value in enumerate(values):
        entry = make_entry(number)
        await store.put(TENANT, entry)
        connection.set_busy_timeout(1000)
        column = "head" if number % 2 else "body"
        if column == "head":
            connection.execute("UPDATE entries SET head = ? WHERE key = ?", (value, entry.key))
        else:
            connection.execute("UPDATE entries SET head = ?, body = ? WHERE key = ?", (value, value, entry.key))
        assert (await store.get(TENANT, entry.key)).entry is None
        assert store.counters.corrupt == number + 1
        await store.stats(TENANT)
        await store.put(TENANT, make_entry("barrier"))
        assert connection.execute("SELECT 1 FROM entries WHERE key = ?", (entry.key,)).fetchone() is None
    connection.close()
    assert (await store.stats(TENANT)).entries == 1
    assert not goal.exists()
    await store.close()
    record("C6 sqlite", planted=len(values), executions=0)
