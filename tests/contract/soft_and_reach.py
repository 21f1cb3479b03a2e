"""The part of the entry stores' contract about what an invalidation meets, and about marking stale."""

from __future__ import annotations

import asyncio

import pytest

from agentcache.engine.entries import Entry, Reach, Selector, Tenant
from agentcache.engine.freshness import may_serve, may_serve_on_error, may_serve_while_revalidating
from agentcache.engine.stores.port import EntryStore, Put
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, make_entry, make_key


async def fill(store: EntryStore, tenant: Tenant, *entries: Entry) -> None:
    for entry in entries:
        assert await store.put(tenant, entry) is Put.STORED


async def find(store: EntryStore, tenant: Tenant, name: str | int) -> Entry:
    entry = (await store.get(tenant, make_key(name))).entry
    assert entry is not None
    return entry


class SoftAndReachContract:
    """Inherited by `EntryStoreContract`, which has the fixtures."""

    @pytest.mark.parametrize("soft", [False, True])
    async def test_it_tells_what_it_met(self, store: EntryStore, tenant: Tenant, stranger: Tenant, soft: bool) -> None:
        await fill(
            store,
            tenant,
            make_entry("a", b"12345", namespace="prod", tags=("t",), cost_usd_nanos=3),
            make_entry("b", b"123", namespace="eval", tags=("t", "u"), cost_usd_nanos=2**40),
            make_entry("c", b"1", namespace="eval", tags=("u",), cost_usd_nanos=7),
        )
        await fill(store, stranger, make_entry("a", namespace="prod", tags=("t",), cost_usd_nanos=99))
        expected = Reach(2, 8, 2**40 + 3, {"eval": 1, "prod": 1})
        assert await store.survey(tenant, Selector(tags=("t",))) == expected
        assert await store.survey(tenant, Selector(tags=("t", "u"))) == Reach(3, 9, 2**40 + 10, {"eval": 2, "prod": 1})
        assert await store.withdraw(tenant, Selector(tags=("t",)), soft=soft) == expected
        assert await store.survey(tenant, Selector(tags=("t",))) == (expected if soft else Reach())
        assert await store.survey(tenant, Selector(tags=("none",))) == Reach()
        assert (await store.survey(stranger, Selector())).entries == 1

    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            (Selector(pattern="prod/*"), "ab"),
            (Selector(pattern="prod/openai/gpt-5/*"), "a"),
            (Selector(pattern="prod/openai/gpt-5*"), "ab"),
            (Selector(pattern="*/gpt-5/?"), "ac"),
            (Selector(pattern="prod/openai/gpt-5/a"), "a"),
            (Selector(pattern="pro[d]/*", model="gpt-5-mini"), "b"),
            (Selector(namespace="prod", stored_before=STORED_AT - 5), "b"),
            (Selector(dialect="openai", model="gpt-5"), "ac"),
            (Selector(pattern="prodx*"), ""),
            (Selector(pattern="prod/*", namespace="eval"), ""),
            (Selector(), "abc"),
        ],
    )
    async def test_counts_are_those_of_the_selector(
        self, store: EntryStore, tenant: Tenant, selector: Selector, names: str
    ) -> None:
        await fill(
            store,
            tenant,
            make_entry("a", namespace="prod"),
            make_entry("b", namespace="prod", model="gpt-5-mini", stored_at=STORED_AT - 10),
            make_entry("c", namespace="eval"),
        )
        assert await store.which(tenant, selector, [make_key(name) for name in "abcd"]) == set(map(make_key, names))
        reach = await store.withdraw(tenant, selector)
        assert reach.entries == sum(reach.namespaces.values()) == len(names)
        left = {row.meta.label for row in (await store.list_entries(tenant, Selector())).rows}
        assert left == set("abc") - set(names)

    @pytest.mark.parametrize(
        "spelling",
        ["HTTPS://Docs.Example.com:443/a/./b?q=1#top", "https://docs.example.com/%61/b?q=1", "https://docs.example.com/x/../a/b?q=1"],
    )  # fmt: skip
    async def test_a_source_is_meant_in_any_spelling(self, store: EntryStore, tenant: Tenant, spelling: str) -> None:
        plain = "https://docs.example.com/a/b?q=1"
        await fill(
            store,
            tenant,
            make_entry("as given", sources=(spelling,)),
            make_entry("plain", sources=(plain,)),
            make_entry("other", sources=("https://docs.example.com/a/b?q=2", "http://docs.example.com/a/b?q=1")),
        )
        mark = (await store.get(tenant, make_key("late"))).mark
        assert (await find(store, tenant, "as given")).meta.sources == (spelling,)
        assert await store.which(tenant, Selector(source=spelling), [make_key("plain")]) == {make_key("plain")}
        assert await store.invalidate(tenant, Selector(source=plain)) == 2
        assert await store.put(tenant, make_entry("late", sources=(spelling,)), mark) is Put.SUPERSEDED
        assert await store.invalidate(tenant, Selector(source=spelling)) == 0
        assert (await store.stats(tenant)).entries == 1

    # Marking stale

    async def test_a_soft_invalidation_ends_the_lifetime(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant, clock: ManualClock
    ) -> None:
        await fill(
            store,
            tenant,
            make_entry("a", tags=("t",), stale_while_revalidate_seconds=60.0, stale_if_error_seconds=300.0),
            make_entry("b"),
        )
        clock.move(100)
        before = await find(other_worker, tenant, "a")
        assert may_serve(before.meta, clock.now())
        assert (await store.withdraw(tenant, Selector(tags=("t",)), soft=True)).entries == 1
        for worker in (store, other_worker):
            marked = await find(worker, tenant, "a")
            assert marked.stale_at == clock.now()
            assert marked.body == before.body
            assert marked.meta.expires_at == clock.now()
            assert not may_serve(marked.meta, clock.now())
            assert may_serve_on_error(marked.meta, clock.now() + 299)
            assert not may_serve_on_error(marked.meta, clock.now() + 300)
            assert may_serve_while_revalidating(marked.meta, clock.now())
            assert not may_serve_while_revalidating(marked.meta, clock.now() + 60)
            assert may_serve((await find(worker, tenant, "b")).meta, clock.now())
            (row,) = (await worker.list_entries(tenant, Selector(tags=("t",)))).rows
            assert (row.stale_at, row.meta) == (marked.stale_at, marked.meta)

    async def test_no_clock_makes_it_fresh_again(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant, clock: ManualClock
    ) -> None:
        await fill(store, tenant, make_entry("a"))
        clock.move(1000)
        await find(store, tenant, "a")
        await store.withdraw(tenant, Selector(), soft=True)
        for seconds in (-500, 0, -2000):
            clock.move(seconds)
            for worker in (store, other_worker):
                assert not may_serve((await find(worker, tenant, "a")).meta, clock.now())

    async def test_a_fill_from_before_is_refused(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant
    ) -> None:
        await fill(store, tenant, make_entry("a", b"old", tags=("t",)))
        mark = (await other_worker.get(tenant, make_key("a"))).mark
        await store.withdraw(tenant, Selector(tags=("t",)), soft=True)
        late = make_entry("a", b"made before", tags=("t",), stored_at=STORED_AT + 1)
        assert await other_worker.put(tenant, late, mark) is Put.SUPERSEDED
        assert (await find(store, tenant, "a")).body == b"old"

    async def test_a_new_answer_takes_the_mark_off(
        self, store: EntryStore, other_worker: EntryStore, tenant: Tenant, clock: ManualClock
    ) -> None:
        await fill(store, tenant, make_entry("a", tags=("t",)))
        await store.withdraw(tenant, Selector(tags=("t",)), soft=True)
        mark = (await other_worker.get(tenant, make_key("a"))).mark
        anew = make_entry("a", b"new", tags=("t",), stored_at=clock.now())
        assert await other_worker.put(tenant, anew, mark) is Put.STORED
        assert await find(store, tenant, "a") == anew
        (row,) = (await store.list_entries(tenant, Selector())).rows
        assert (row.stale_at, row.meta) == (None, anew.meta)
        assert (await store.stats(tenant)).entries == 1

    async def test_it_stays_as_it_was_marked_first(self, store: EntryStore, tenant: Tenant, clock: ManualClock) -> None:
        await fill(store, tenant, make_entry("a"), make_entry("b", stored_at=STORED_AT + 5))
        clock.move(10)
        await store.withdraw(tenant, Selector(keys=(make_key("a"),)), soft=True)
        clock.move(10)
        assert (await store.withdraw(tenant, Selector(), soft=True)).entries == 2
        assert (await find(store, tenant, "a")).stale_at == STORED_AT + 10
        assert (await find(store, tenant, "b")).stale_at == STORED_AT + 20
        assert await store.invalidate(tenant, Selector()) == 2
        assert (await store.get(tenant, make_key("a"))).entry is None

    async def test_it_lives_no_shorter_for_it(self, store: EntryStore, tenant: Tenant, clock: ManualClock) -> None:
        await fill(store, tenant, make_entry("a", lifetime_seconds=1000.0))
        await store.withdraw(tenant, Selector(), soft=True)
        clock.move(1000 + 599)
        assert await store.sweep() == 0
        await find(store, tenant, "a")
        clock.move(1)
        assert (await store.get(tenant, make_key("a"))).entry is None
        assert await store.sweep() == 1

    async def test_marks_race_new_answers(self, store: EntryStore, other_worker: EntryStore, tenant: Tenant) -> None:
        """Whatever is stored after a mark has been acknowledged stands, and nothing that was stored before it does."""
        for version in range(8):
            puts = [
                other_worker.put(tenant, make_entry(i, b"%d" % version, tags=("t",), stored_at=STORED_AT - version))
                for i in range(10)
            ]
            await asyncio.gather(store.withdraw(tenant, Selector(tags=("t",)), soft=True), *puts)
            await store.withdraw(tenant, Selector(tags=("t",)), soft=True)
            for i in range(10):
                for worker in (store, other_worker):
                    found = await find(worker, tenant, i)
                    assert found.stale_at is not None
                    assert found.body == b"%d" % version
