"""Invalidations of the cache file whose rows are still there, and files of the release before there were any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest

from agentcache.engine.entries import Entry, Reach, Selector
from agentcache.engine.stores import sqlite_entries
from agentcache.engine.stores.framing import pack_head
from agentcache.engine.stores.port import Put
from agentcache.engine.stores.selection import literal_beginning
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, assert_stale, make_entry, make_key, make_tenant

TENANT = make_tenant()
SELECTORS = {
    "pattern": Selector(pattern="*/openai/*"),
    "tag": Selector(tags=("t", "u")),
    "source": Selector(source="https://example.com/a"),
    "keys": Selector(keys=tuple(make_key(i) for i in range(40))),
    "age": Selector(stored_before=STORED_AT),
    "everything": Selector(),
}


def open_store(folder: Path, clock: ManualClock) -> SqliteEntries:
    store = SqliteEntries(
        folder / "cache.db", clock=clock, max_bytes=1 << 28, entry_max_bytes=1 << 20, grace_seconds=600.0
    )
    store.open()
    return store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(STORED_AT)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteEntries]:
    store = open_store(tmp_path, clock)
    yield store
    await store.close()


@pytest.fixture
async def other(store: SqliteEntries, tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteEntries]:
    other = open_store(tmp_path, clock)
    yield other
    await other.close()


def die_after_the_reply(store: SqliteEntries, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        work.close()
        return asyncio.ensure_future(asyncio.sleep(0))

    monkeypatch.setattr(store, "_start", die)


async def fill(store: SqliteEntries, number: int = 40) -> None:
    entries = [make_entry(i, tags=("t",), sources=("https://example.com/a",), cost_usd_nanos=2) for i in range(number)]
    assert set(await asyncio.gather(*(store.put(TENANT, entry) for entry in entries))) == {Put.STORED}


def rows_in(folder: Path) -> int:
    connection = apsw.Connection(str(folder / "cache.db"))
    rows = connection.execute("SELECT id FROM entries").fetchall()
    connection.close()
    return len(rows)


@pytest.mark.parametrize("name", SELECTORS)
async def test_what_is_acknowledged_is_gone_although_its_rows_are_there(
    store: SqliteEntries, other: SqliteEntries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await fill(store)
    for worker in (store, other):
        assert (await worker.get(TENANT, make_key(1))).entry is not None
    die_after_the_reply(store, monkeypatch)
    assert await store.withdraw(TENANT, SELECTORS[name]) == Reach(40, 40 * 14, 80, {"default": 40})
    assert rows_in(tmp_path) == 40
    await store.put(TENANT, make_entry("later", tags=("t",)))
    for worker in (store, other):
        assert [i for i in range(40) if (await worker.get(TENANT, make_key(i))).entry is not None] == []
        assert (await worker.get(TENANT, make_key("later"))).entry is not None
        assert [row.meta.label for row in (await worker.list_entries(TENANT, Selector())).rows] == ["later"]
        assert (await worker.stats(TENANT)).entries == await worker.count(TENANT, Selector()) == 1
        assert await worker.which(TENANT, Selector(), [make_key(1), make_key("later")]) == {make_key("later")}
    # Nothing counts twice.
    assert (await other.withdraw(TENANT, SELECTORS[name])).entries in {0, 1}
    await other.sweep()
    assert rows_in(tmp_path) in {0, 1}


async def test_a_sweep_finishes_what_a_dead_worker_began(
    store: SqliteEntries, other: SqliteEntries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store)
    die_after_the_reply(store, monkeypatch)
    await store.withdraw(TENANT, Selector(tags=("t",)))
    await other.sweep()
    assert rows_in(tmp_path) == 0
    assert (await store.stats(TENANT)).entries == 0
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    assert connection.execute("SELECT pending FROM tenants").fetchall() == [(0,)]
    assert connection.execute("SELECT done FROM invalidations").fetchall() == [(1,)]
    connection.close()


async def test_marks_whose_rows_are_as_they_were(
    store: SqliteEntries, other: SqliteEntries, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store)
    await other.get(TENANT, make_key(3))
    clock.move(5)
    die_after_the_reply(store, monkeypatch)
    await store.withdraw(TENANT, Selector(tags=("t",)), soft=True)
    clock.move(5)
    await store.withdraw(TENANT, Selector(keys=(make_key(3),)), soft=True)
    for _ in range(2):
        for worker in (store, other):
            await assert_stale(worker, TENANT, make_key(3), since=STORED_AT + 5, now=clock.now())
        await other.sweep()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", SELECTORS)
async def test_many_rows_are_found_in_slices(
    store: SqliteEntries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, soft: bool
) -> None:
    monkeypatch.setattr(sqlite_entries, "FEW_ROWS", 3)
    monkeypatch.setattr(sqlite_entries, "_FOUND_AT_ONCE", 7)
    await fill(store)
    await store.put(make_tenant("team_b"), make_entry(1, tags=("t",)))
    await store.withdraw(TENANT, SELECTORS[name], soft=soft)
    await store.sweep()
    connection = apsw.Connection(str(tmp_path / "cache.db"))
    ((rows, marked),) = connection.execute("SELECT count(*), count(stale_at) FROM entries").fetchall()
    connection.close()
    assert (rows, marked) == ((41, 40) if soft else (1, 0))


@pytest.mark.parametrize(
    ("pattern", "literal"), [("a/b*", "a/b"), ("*", ""), ("ab", "ab"), ("a[bc]d", "a"), ("a?", "a"), ("", "")]
)
def test_what_a_pattern_begins_with(pattern: str, literal: str) -> None:
    assert literal_beginning(pattern) == literal


@pytest.mark.parametrize("namespace", ["a", "a/b", "\U0010ffff", "a\U0010ffff", "\ud7ff", "%"])
async def test_ranges_of_paths_end_where_they_should(store: SqliteEntries, namespace: str) -> None:
    for name in (namespace, f"{namespace}0", namespace[:-1] or "z"):
        await store.put(TENANT, make_entry(name, namespace=name))
    assert await store.count(TENANT, Selector(namespace=namespace)) == 1
    assert await store.count(TENANT, Selector(pattern=f"{namespace}*")) >= 2
    assert await store.count(TENANT, Selector(pattern=f"{namespace}/*", namespace=namespace)) == 1


# Files of the first schema

FIRST_SCHEMA = """
PRAGMA application_id = 1094935400;
PRAGMA user_version = 1;
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, salt INTEGER NOT NULL, mark INTEGER NOT NULL,
    floor INTEGER NOT NULL, bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE entries (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, key BLOB NOT NULL, head BLOB NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE catalog (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, scope INTEGER NOT NULL, path TEXT NOT NULL,
    stored_at REAL NOT NULL, dead_at REAL NOT NULL, used_at REAL NOT NULL, hits INTEGER NOT NULL DEFAULT 0,
    body_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL);
CREATE INDEX catalog_by_age ON catalog (tenant, stored_at);
CREATE INDEX catalog_by_path ON catalog (tenant, path);
CREATE INDEX catalog_by_use ON catalog (tenant, used_at);
CREATE INDEX catalog_by_death ON catalog (dead_at);
CREATE TABLE scopes (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, namespace TEXT NOT NULL, dialect TEXT NOT NULL,
    model TEXT NOT NULL, entries INTEGER NOT NULL DEFAULT 0, body_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, namespace, dialect, model));
CREATE TABLE links (tenant INTEGER NOT NULL, label TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant, label, id))
    WITHOUT ROWID;
CREATE TABLE invalidations (tenant INTEGER NOT NULL, mark INTEGER NOT NULL, at REAL NOT NULL, selector BLOB NOT NULL,
    PRIMARY KEY (tenant, mark)) WITHOUT ROWID;
CREATE TABLE flights (number INTEGER PRIMARY KEY, flight TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    leased_until REAL NOT NULL, finished_at REAL);
CREATE TABLE frames (flight INTEGER NOT NULL, position INTEGER NOT NULL, frame BLOB NOT NULL,
    PRIMARY KEY (flight, position)) WITHOUT ROWID;
INSERT INTO store VALUES ('base', 1000), ('bytes', 500);
INSERT INTO tenants VALUES (1, 'team_a', 12345, 1003, 1000, 500);
INSERT INTO scopes VALUES (1, 1, 'default', 'openai', 'gpt-5', 1, 14);
INSERT INTO invalidations VALUES (1, 1003, 1.0, x'80');
"""


def make_first_file(folder: Path, entry: Entry) -> None:
    connection = apsw.Connection(str(folder / "cache.db"))
    connection.execute(FIRST_SCHEMA)
    row_id = int.from_bytes(entry.key[:8], "big", signed=True) ^ 12345
    meta = entry.meta
    head = pack_head(entry.key, meta, entry.body)
    connection.execute("INSERT INTO entries VALUES (?, 1, ?, ?, ?)", (row_id, entry.key, head, entry.body))
    connection.execute(
        "INSERT INTO catalog VALUES (?, 1, 1, ?, ?, ?, ?, 4, 14, 500)",
        (row_id, meta.path, meta.stored_at, meta.expires_at + 600, meta.stored_at),
    )
    for label in ("t:t", "s:https://Example.com"):
        connection.execute("INSERT INTO links VALUES (1, ?, ?)", (label, row_id))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


async def test_a_file_of_the_first_schema_keeps_its_entries(tmp_path: Path, clock: ManualClock) -> None:
    entry = make_entry("a", tags=("t",), sources=("https://Example.com",), cost_usd_nanos=77)
    make_first_file(tmp_path, entry)
    store = open_store(tmp_path, clock)
    assert (await store.get(TENANT, entry.key)).entry == entry
    assert await store.survey(TENANT, Selector(source="https://example.com/")) == Reach(1, 14, 77, {"default": 1})
    assert (await store.list_entries(TENANT, Selector())).rows[0].hits == 5
    mark = (await store.get(TENANT, make_key("b"))).mark
    assert mark == 1003
    assert await store.invalidate(TENANT, Selector(tags=("t",))) == 1
    assert (await store.get(TENANT, entry.key)).entry is None
    await store.sweep()
    assert rows_in(tmp_path) == 0
    await store.close()
    assert list(tmp_path.glob("*corrupt*")) == []
