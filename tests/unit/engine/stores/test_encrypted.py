from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from agentcache.engine.entries import Selector
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.framing import SEALED, open_frame, pack_head
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant

TENANT = make_tenant("team_a", data_key=bytes(range(32)))
SECRET = b"the answer that nobody else may read"
ENTRY = make_entry(
    "a", SECRET, writer="key_secret_writer", headers=(("x-secret-header", "hush"),), parts={"hidden.part": b"12345678"}
)


def open_plain(folder: Path, *, sealed: bool) -> SqliteEntries:
    store = SqliteEntries(
        folder / "cache.db", clock=ManualClock(STORED_AT), max_bytes=1 << 26, entry_max_bytes=1 << 20,
        grace_seconds=60, sealed=sealed,
    )  # fmt: skip
    store.open()
    return store


@pytest.fixture
async def store(tmp_path: Path):
    store = EncryptedStore(open_plain(tmp_path, sealed=True))
    yield store
    await store.close()


def run_sql(folder: Path, query: str, *values: Any) -> list[Any]:
    connection = apsw.Connection(str(folder / "cache.db"))
    connection.set_busy_timeout(1000)
    rows = connection.execute(query, values).fetchall()
    connection.close()
    return rows


async def test_nothing_sensitive_lies_in_the_file(store: EncryptedStore, tmp_path: Path) -> None:
    await store.put(TENANT, ENTRY)
    await store.close()
    lying = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (SECRET, b"key_secret_writer", b"x-secret-header", b"hush", b"hidden.part"):
        assert secret not in lying


async def test_another_key_is_a_miss_that_is_counted_and_harms_nothing(store: EncryptedStore) -> None:
    await store.put(TENANT, ENTRY)
    with_other_key = make_tenant("team_a", data_key=bytes(32))
    assert (await store.get(with_other_key, ENTRY.key)).entry is None
    assert store.counters.corrupt == 1
    assert (await store.list_entries(with_other_key, Selector())).rows == ()
    assert (await store.get(TENANT, ENTRY.key)).entry == ENTRY


async def test_without_a_data_key_nothing_is_stored_or_read(store: EncryptedStore) -> None:
    await store.put(TENANT, ENTRY)
    without = make_tenant("team_a")
    with pytest.raises(StoreUnavailable, match="no data key"):
        await store.put(without, ENTRY)
    with pytest.raises(StoreUnavailable, match="no data key"):
        await store.get(without, ENTRY.key)


async def test_rows_of_one_tenant_do_not_open_as_another_s(store: EncryptedStore, tmp_path: Path) -> None:
    # Same data key on purpose: it is the binding, not the key, that must hold.
    thief = make_tenant("team_b", data_key=TENANT.data_key)
    await store.put(TENANT, ENTRY)
    await store.put(thief, make_entry("a", b"own"))
    own, stolen = (run_sql(tmp_path, "SELECT id, head, body FROM entries WHERE tenant = ?", n)[0] for n in (2, 1))
    run_sql(tmp_path, "UPDATE entries SET head = ?, body = ? WHERE id = ?", stolen[1], stolen[2], own[0])
    assert (await store.get(thief, ENTRY.key)).entry is None


async def test_edited_metadata_and_swapped_bodies_do_not_open(store: EncryptedStore, tmp_path: Path) -> None:
    await store.put(TENANT, ENTRY)
    (row_id, key, head, body), *_ = run_sql(tmp_path, "SELECT id, key, head, body FROM entries")
    lying = open_frame(key, head, body, SEALED)
    for changes in ({"status": 500}, {"lifetime_seconds": 1e9}, {"content_type": "text/html"}, {"tags": ("x",)}):
        meta = msgspec.structs.replace(lying.meta, **changes)
        run_sql(tmp_path, "UPDATE entries SET head = ? WHERE id = ?", pack_head(key, meta, body, SEALED), row_id)
        assert (await store.get(TENANT, ENTRY.key)).entry is None
    await store.put(TENANT, make_entry("a", b"later"))
    later_head, later_body = run_sql(tmp_path, "SELECT head, body FROM entries")[0]
    sealed_later = open_frame(key, later_head, later_body, SEALED)
    mixed = pack_head(key, lying.meta, sealed_later.body, SEALED)
    run_sql(tmp_path, "UPDATE entries SET head = ?, body = ?", mixed, sealed_later.body)
    assert (await store.get(TENANT, ENTRY.key)).entry is None


async def test_switching_encryption_on_or_off_never_serves_what_lies_there(tmp_path: Path) -> None:
    sealed = EncryptedStore(open_plain(tmp_path, sealed=True))
    await sealed.put(TENANT, ENTRY)
    await sealed.close()
    plain = open_plain(tmp_path, sealed=False)
    assert (await plain.get(TENANT, ENTRY.key)).entry is None
    await plain.put(TENANT, make_entry("b"))
    await plain.close()
    sealed = EncryptedStore(open_plain(tmp_path, sealed=True))
    assert (await sealed.get(TENANT, make_key("b"))).entry is None
    await sealed.close()
