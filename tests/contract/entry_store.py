"""What every entry store must do. Each adapter's test module inherits `EntryStoreContract` and gives it two stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from agentcache.engine.entries import Entry, Selector, Tenant
from agentcache.engine.stores.port import EntryStore, EntrySummary, Put, StoreUnavailable
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import BadRequest
from tests.contract.soft_and_reach import SoftAndReachContract
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant

GRACE_SECONDS = 600.0
ENTRY_MAX_BYTES = 2 << 20
MAX_BYTES = 256 << 20

StoreMaker = Callable[[], Awaitable[EntryStore]]

SELECTORS = {
    "everything": Selector(),
    "key": Selector(keys=(make_key("wanted"),)),
    "keys": Selector(keys=(make_key("wanted"), make_key("absent"))),
    "namespace": Selector(namespace="prod"),
    "tag": Selector(tags=("blue",)),
    "any of the tags": Selector(tags=("absent", "blue")),
    "source": Selector(source="https://example.com/facts?a=1"),
    "pattern": Selector(pattern="prod/*/gpt-[45]/want??"),
    "dialect": Selector(dialect="anthropic"),
    "model": Selector(model="gpt-4"),
    "age": Selector(stored_before=STORED_AT - 50),
    "all together": Selector(
        keys=(make_key("wanted"),),
        namespace="prod",
        tags=("blue",),
        source="https://example.com/facts?a=1",
        pattern="*wanted",
        dialect="anthropic",
        model="gpt-4",
        stored_before=STORED_AT - 100,
    ),
}
narrow_selectors = pytest.mark.parametrize("name", [name for name in SELECTORS if name != "everything"])
all_selectors = pytest.mark.parametrize("name", list(SELECTORS))


def wanted_entry() -> Entry:
    return make_entry(
        "wanted",
        namespace="prod",
        dialect="anthropic",
        model="gpt-4",
        tags=("blue", "red"),
        sources=("https://example.com/facts?a=1",),
        stored_at=STORED_AT - 100,
    )


def other_entries() -> list[Entry]:
    """Near misses of every selector above but the empty one."""
    return [
        make_entry("plain"),
        make_entry("tagged", tags=("red", "blu", "Blue")),
        make_entry("sourced", sources=("https://example.com/facts?a=12", "https://example.com/facts")),
        make_entry("scoped", namespace="prod2", model="gpt-40", dialect="anthropic2"),
        make_entry("wantedd", namespace="Prod"),
    ]


class EntryStoreContract(SoftAndReachContract):
    """Inherit, and define the fixture `make_store`, which opens one more store over the same storage each time."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(STORED_AT)

    @pytest.fixture
    def tenant(self) -> Tenant:
        return make_tenant("team_a")

    @pytest.fixture
    def stranger(self) -> Tenant:
        return make_tenant("team_b")

    def odd_tenant(self, name: str) -> Tenant:
        return make_tenant(name)

    @pytest.fixture
    async def store(self, make_store: StoreMaker) -> AsyncIterator[EntryStore]:
        store = await make_store()
        yield store
        await store.close()

    @pytest.fixture
    async def other_worker(self, store: EntryStore, make_store: StoreMaker) -> AsyncIterator[EntryStore]:
        other = await make_store()
        yield other
        await other.close()

    async def fill(self, store: EntryStore, tenant: Tenant, entries: list[Entry]) -> None:
        outcomes = await asyncio.gather(*(store.put(tenant, entry) for entry in entries))
        assert set(outcomes) == {Put.STORED}

    async def found(self, store: EntryStore, tenant: Tenant, name: str | int) -> Entry | None:
        return (await store.get(tenant, make_key(name))).entry

    # Looking up and storing

    async def test_an_unknown_key_is_a_miss(self, store: EntryStore, tenant: Tenant) -> None:
        assert (await store.get(tenant, make_key("nothing"))).entry is None

    async def test_what_was_put_is_found_by_every_worker(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        entry = make_entry("a")
        assert await store.put(tenant, entry) is Put.STORED
        assert await self.found(store, tenant, "a") == entry
        assert await self.found(other_worker, tenant, "a") == entry

    @pytest.mark.parametrize(
        "body",
        [b"", b"\x00\xff" * 100, "déjà vu 🐘 \u2028".encode(), b"x" * (1 << 20)],
        ids=["empty", "binary", "text", "1 MiB"],
    )
    async def test_bodies_come_back_byte_for_byte(self, store: EntryStore, tenant: Tenant, body: bytes) -> None:
        entry = make_entry("a", body)
        await store.put(tenant, entry)
        assert await self.found(store, tenant, "a") == entry

    async def test_all_metadata_comes_back(self, store: EntryStore, tenant: Tenant) -> None:
        entry = make_entry(
            "a",
            b"data: {}\n\n",
            namespace="ü/ns",
            label="label with / and * and \x00 and 🐘",
            status=203,
            content_type="text/event-stream",
            streamed=True,
            stored_at=STORED_AT + 0.123456,
            stale_while_revalidate_seconds=5.5,
            stale_if_error_seconds=60.25,
            tags=("a", "b", "a"),
            sources=("https://example.com/", "https://example.com/?q=ü"),
            input_tokens=2**40,
            output_tokens=7,
            cost_usd_nanos=2**50,
            upstream_ms=1234.5,
            writer="key_1",
            headers=(("x-model-version", "7"), ("x-empty", "")),
            parts={"messages.0": b"\x00\x01\x02\x03\x04\x05\x06\xff", "model": b"12345678"},
        )
        await store.put(tenant, entry)
        assert await self.found(store, tenant, "a") == entry
        (row,) = (await store.list_entries(tenant, Selector())).rows
        assert (row.key, row.meta, row.body_bytes) == (entry.key, entry.meta, len(entry.body))

    async def test_a_second_put_replaces_the_first(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        await store.put(tenant, make_entry("a", b"first", tags=("old",), namespace="one"))
        later = make_entry("a", b"second", tags=("new",), namespace="two")
        await other_worker.put(tenant, later)
        assert await self.found(store, tenant, "a") == later
        assert await store.count(tenant, Selector(tags=("old",))) == 0
        assert await store.count(tenant, Selector(tags=("new",))) == 1
        stats = await store.stats(tenant)
        assert (stats.entries, stats.body_bytes, stats.namespaces) == (1, len(b"second"), {"two": 1})

    async def test_an_entry_beyond_the_limit_is_not_stored(self, store: EntryStore, tenant: Tenant) -> None:
        assert await store.put(tenant, make_entry("a", b"x" * ENTRY_MAX_BYTES)) is Put.STORED
        assert await store.put(tenant, make_entry("b", b"x" * (ENTRY_MAX_BYTES + 1))) is Put.TOO_LARGE
        assert await self.found(store, tenant, "b") is None

    async def test_the_whole_key_counts(self, store: EntryStore, tenant: Tenant) -> None:
        entry = make_entry("a")
        await store.put(tenant, entry)
        for twin in (entry.key[:8] + bytes(24), entry.key[:31] + bytes([entry.key[31] ^ 1])):
            assert (await store.get(tenant, twin)).entry is None

    async def test_many_concurrent_writers_lose_nothing(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        workers = [store, other_worker]
        entries = [make_entry(i, b"%d" % i * 50) for i in range(100)]
        await asyncio.gather(*(workers[i % 2].put(tenant, entry) for i, entry in enumerate(entries)))
        for entry in entries:
            assert (await store.get(tenant, entry.key)).entry == entry
        assert (await store.stats(tenant)).entries == 100

    async def test_racing_writers_of_one_key_leave_one_whole_entry(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        workers = [store, other_worker]
        bodies = [bytes([i]) * (100 + i) for i in range(20)]
        outcomes = await asyncio.gather(
            *(workers[i % 2].put(tenant, make_entry("a", body)) for i, body in enumerate(bodies)),
            return_exceptions=True,
        )
        assert Put.STORED in outcomes
        found = await self.found(store, tenant, "a")
        assert found is not None
        assert found.body in bodies
        stats = await store.stats(tenant)
        assert (stats.entries, stats.body_bytes) == (1, len(found.body))

    async def test_a_cancelled_put_leaves_the_store_in_order(self, store: EntryStore, tenant: Tenant) -> None:
        for i in range(20):
            put = asyncio.create_task(store.put(tenant, make_entry(i)))
            await asyncio.sleep(0.0002 * i)
            put.cancel()
            with suppress(asyncio.CancelledError):
                await put
        await store.put(tenant, make_entry("after"))
        assert await self.found(store, tenant, "after") == make_entry("after")
        found = [i for i in range(20) if await self.found(store, tenant, i) is not None]
        assert (await store.stats(tenant)).entries == len(found) + 1

    # Time

    async def test_an_entry_outlives_its_lifetime_by_the_grace_and_no_longer(
        self, store: EntryStore, tenant: Tenant, clock: ManualClock
    ) -> None:
        entry = make_entry("a", lifetime_seconds=100.0, tags=("t",))
        await store.put(tenant, entry)
        clock.move(100 + GRACE_SECONDS - 1)
        assert await self.found(store, tenant, "a") == entry
        assert await store.count(tenant, Selector()) == 1
        clock.move(1)
        assert await self.found(store, tenant, "a") is None
        assert await store.count(tenant, Selector()) == 0
        assert await store.count(tenant, Selector(keys=(entry.key,))) == 0
        assert (await store.list_entries(tenant, Selector())).rows == ()
        assert await store.invalidate(tenant, Selector(tags=("t",))) == 0

    async def test_a_sweep_removes_the_dead_and_nothing_else(
        self, store: EntryStore, tenant: Tenant, stranger: Tenant, clock: ManualClock
    ) -> None:
        await self.fill(store, tenant, [make_entry(i, lifetime_seconds=10.0, tags=("t",)) for i in range(40)])
        await self.fill(store, stranger, [make_entry("theirs", lifetime_seconds=20.0)])
        await self.fill(store, tenant, [make_entry("alive")])
        clock.move(20 + GRACE_SECONDS)
        assert await store.sweep() == 41
        assert await self.found(store, tenant, "alive") == make_entry("alive")
        stats = await store.stats(tenant)
        assert (stats.entries, stats.namespaces) == (1, {"default": 1})
        assert (await store.stats(stranger)).entries == 0
        assert await store.sweep() == 0

    # Tenancy

    async def test_tenants_never_see_each_other(self, store: EntryStore, tenant: Tenant, stranger: Tenant) -> None:
        mine, theirs = make_entry("same", b"mine", tags=("t",)), make_entry("same", b"theirs", tags=("t",))
        await store.put(tenant, mine)
        assert await self.found(store, stranger, "same") is None
        await store.put(stranger, theirs)
        assert await self.found(store, tenant, "same") == mine
        assert await self.found(store, stranger, "same") == theirs
        assert await store.invalidate(stranger, Selector(tags=("t",))) == 1
        assert await store.invalidate(stranger, Selector()) == 0
        assert await self.found(store, tenant, "same") == mine
        assert (await store.list_entries(stranger, Selector())).rows == ()
        assert (await store.stats(stranger)).entries == 0

    @pytest.mark.parametrize(
        "name", ["team_a*", "team_?", "team_a}", "{team_a}", "team_a:e", "", "team a\r\nDEL x", "é🐘"]
    )
    async def test_odd_tenant_names_stay_apart(self, store: EntryStore, tenant: Tenant, name: str) -> None:
        odd = self.odd_tenant(name)
        await store.put(tenant, make_entry("mine", tags=("t",)))
        await store.put(odd, make_entry("odd", tags=("t",)))
        assert await self.found(store, odd, "mine") is None
        assert await store.count(odd, Selector(tags=("t",))) == 1
        assert await store.invalidate(odd, Selector()) == 1
        assert await self.found(store, tenant, "mine") == make_entry("mine", tags=("t",))

    # Invalidation

    @all_selectors
    async def test_a_selector_removes_exactly_what_it_means(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant, name: str
    ) -> None:
        others = other_entries()
        await self.fill(store, tenant, [wanted_entry(), *others])
        meant = 1 + (len(others) if name == "everything" else 0)
        selector = SELECTORS[name]
        assert await store.count(tenant, selector) == meant
        assert {row.key for row in (await store.list_entries(tenant, selector)).rows} >= {make_key("wanted")}
        assert await store.invalidate(tenant, selector) == meant
        assert await self.found(other_worker, tenant, "wanted") is None
        assert await self.found(store, tenant, "wanted") is None
        assert await store.count(tenant, selector) == 0
        assert (await store.stats(tenant)).entries == 1 + len(others) - meant
        if meant == 1:
            for entry in others:
                assert (await other_worker.get(tenant, entry.key)).entry == entry

    @all_selectors
    async def test_a_fill_that_began_before_an_invalidation_is_refused(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant, name: str
    ) -> None:
        mark = (await store.get(tenant, make_key("wanted"))).mark
        await other_worker.invalidate(tenant, SELECTORS[name])
        assert await store.put(tenant, wanted_entry(), mark) is Put.SUPERSEDED
        assert await self.found(other_worker, tenant, "wanted") is None
        fresh = (await store.get(tenant, make_key("wanted"))).mark
        assert await store.put(tenant, wanted_entry(), fresh) is Put.STORED

    @narrow_selectors
    async def test_a_fill_of_something_else_is_not_refused(self, store: EntryStore, tenant: Tenant, name: str) -> None:
        marks = {entry.key: (await store.get(tenant, entry.key)).mark for entry in other_entries()}
        await store.invalidate(tenant, SELECTORS[name])
        for entry in other_entries():
            assert await store.put(tenant, entry, marks[entry.key]) is Put.STORED

    async def test_another_tenants_invalidation_refuses_nothing(
        self, store: EntryStore, tenant: Tenant, stranger: Tenant
    ) -> None:
        mark = (await store.get(tenant, make_key("a"))).mark
        await store.invalidate(stranger, Selector())
        assert await store.put(tenant, make_entry("a"), mark) is Put.STORED

    async def test_a_refresh_that_began_with_a_hit_is_refused_too(self, store: EntryStore, tenant: Tenant) -> None:
        await store.put(tenant, make_entry("a", tags=("t",)))
        looked_up = await store.get(tenant, make_key("a"))
        assert looked_up.entry is not None
        await store.invalidate(tenant, Selector(tags=("t",)))
        assert await store.put(tenant, make_entry("a", b"refreshed", tags=("t",)), looked_up.mark) is Put.SUPERSEDED

    async def test_every_invalidation_since_the_mark_counts(self, store: EntryStore, tenant: Tenant) -> None:
        mark = (await store.get(tenant, make_key("a"))).mark
        await store.invalidate(tenant, Selector(tags=("t",)))
        for i in range(5):
            await store.invalidate(tenant, Selector(tags=(f"other{i}",)))
        assert await store.put(tenant, make_entry("a", tags=("t",)), mark) is Put.SUPERSEDED

    async def test_a_mark_older_than_the_log_is_refused(
        self, store: EntryStore, tenant: Tenant, clock: ManualClock
    ) -> None:
        mark = (await store.get(tenant, make_key("a"))).mark
        await store.invalidate(tenant, Selector(tags=("t",)))
        clock.move(4000)
        await store.invalidate(tenant, Selector(tags=("u",)))
        await store.sweep()
        # What was invalidated between is no longer known, so the safe answer is no.
        late = make_entry("a", stored_at=clock.now())
        assert await store.put(tenant, late, mark) is Put.SUPERSEDED
        assert await store.put(tenant, late, (await store.get(tenant, make_key("a"))).mark) is Put.STORED

    async def test_a_mark_from_nowhere_is_refused(self, store: EntryStore, tenant: Tenant) -> None:
        mark = (await store.get(tenant, make_key("a"))).mark
        assert await store.put(tenant, make_entry("a"), mark + 10**12) is Put.SUPERSEDED
        assert await store.put(tenant, make_entry("a"), -1) is Put.SUPERSEDED

    async def test_fills_racing_an_invalidation_never_survive_it(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        async def fill(i: int) -> None:
            mark = (await other_worker.get(tenant, make_key(i))).mark
            await asyncio.sleep(0.0003 * (i % 7))
            await other_worker.put(tenant, make_entry(i, tags=("t",)), mark)

        for _ in range(5):
            fills = [asyncio.create_task(fill(i)) for i in range(20)]
            await asyncio.sleep(0.001)
            await store.invalidate(tenant, Selector(tags=("t",)))
            marks_after = (await store.get(tenant, make_key("probe"))).mark
            survivors = {i for i in range(20) if await self.found(store, tenant, i) is not None}
            await asyncio.gather(*fills)
            # Only fills that looked up after the invalidation may have stored anything since.
            assert marks_after > 0
            for i in survivors:
                assert await store.count(tenant, Selector(keys=(make_key(i),))) == 1
            await store.invalidate(tenant, Selector())
            assert (await store.stats(tenant)).entries == 0

    # Listing

    async def test_a_listing_is_newest_first_and_whole(self, store: EntryStore, tenant: Tenant) -> None:
        ages = [5, 3, 9, 1, 7, 3, 3, 8, 2, 6, 4]
        await self.fill(store, tenant, [make_entry(i, stored_at=STORED_AT - age) for i, age in enumerate(ages)])
        rows: list[EntrySummary] = []
        cursor = ""
        for _ in range(10):
            page = await store.list_entries(tenant, Selector(), cursor=cursor, limit=3)
            assert len(page.rows) <= 3
            rows += page.rows
            cursor = page.cursor
            if not cursor:
                break
        assert [STORED_AT - row.meta.stored_at for row in rows] == sorted(ages)
        assert {row.key for row in rows} == {make_key(i) for i in range(len(ages))}

    async def test_a_page_that_ends_exactly_at_the_end_has_no_cursor(self, store: EntryStore, tenant: Tenant) -> None:
        await self.fill(store, tenant, [make_entry(i) for i in range(4)])
        first = await store.list_entries(tenant, Selector(), limit=2)
        last = await store.list_entries(tenant, Selector(), limit=2, cursor=first.cursor)
        assert len({row.key for row in first.rows + last.rows}) == 4
        assert last.cursor == ""

    async def test_a_filtered_listing_is_paginated_too(self, store: EntryStore, tenant: Tenant) -> None:
        await self.fill(
            store,
            tenant,
            [make_entry(i, tags=("odd",) if i % 2 else (), stored_at=STORED_AT - i) for i in range(20)],
        )
        rows: list[EntrySummary] = []
        cursor = ""
        while True:
            page = await store.list_entries(tenant, Selector(tags=("odd",)), cursor=cursor, limit=4)
            rows += page.rows
            cursor = page.cursor
            if not cursor:
                break
        assert [row.meta.label for row in rows] == [str(i) for i in range(20) if i % 2]

    @pytest.mark.parametrize("cursor", ["x", "!!!!", "AAAA", "é", "A" * 5000])
    async def test_a_made_up_cursor_is_the_callers_mistake(
        self, store: EntryStore, tenant: Tenant, cursor: str
    ) -> None:
        await store.put(tenant, make_entry("a"))
        with pytest.raises(BadRequest) as caught:
            await store.list_entries(tenant, Selector(), cursor=cursor)
        assert caught.value.param == "cursor"

    async def test_uses_are_counted(self, store: EntryStore, tenant: Tenant, clock: ManualClock) -> None:
        await self.fill(store, tenant, [make_entry("a"), make_entry("b")])
        clock.move(5)
        for _ in range(3):
            await self.found(store, tenant, "a")
        rows = {row.meta.label: row for row in (await store.list_entries(tenant, Selector())).rows}
        assert (rows["a"].hits, rows["a"].last_used_at) == (3, STORED_AT + 5)
        assert (rows["b"].hits, rows["b"].last_used_at) == (0, STORED_AT)
        await store.sweep()
        rows = {row.meta.label: row for row in (await store.list_entries(tenant, Selector())).rows}
        assert (rows["a"].hits, rows["a"].last_used_at) == (3, STORED_AT + 5)

    async def test_totals_add_up(self, store: EntryStore, tenant: Tenant) -> None:
        entries = [make_entry(i, b"x" * i, namespace=f"ns{i % 3}", model=f"m{i % 2}") for i in range(12)]
        await self.fill(store, tenant, entries)
        stats = await store.stats(tenant)
        assert (stats.entries, stats.body_bytes) == (12, sum(range(12)))
        assert stats.namespaces == {"ns0": 4, "ns1": 4, "ns2": 4}
        await store.invalidate(tenant, Selector(namespace="ns1"))
        stats = await store.stats(tenant)
        assert (stats.entries, stats.body_bytes) == (8, sum(i for i in range(12) if i % 3 != 1))
        assert stats.namespaces == {"ns0": 4, "ns2": 4}

    # Life

    async def test_ping_passes_while_it_works(self, store: EntryStore) -> None:
        await store.ping()

    async def test_a_closed_store_says_so(self, store: EntryStore, make_store: StoreMaker, tenant: Tenant) -> None:
        closed = await make_store()
        await closed.put(tenant, make_entry("a"))
        await closed.close()
        for call in (
            closed.get(tenant, make_key("a")),
            closed.put(tenant, make_entry("b")),
            closed.count(tenant, Selector()),
            closed.invalidate(tenant, Selector()),
            closed.ping(),
        ):
            with pytest.raises(StoreUnavailable):
                await call
        assert await self.found(store, tenant, "a") == make_entry("a")
