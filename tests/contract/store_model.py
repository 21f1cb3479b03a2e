"""C21: a store against a dictionary, in random order of everything that can happen to it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentcache.engine.entries import Entry, Mark, Selector, Tenant, earlier, outdated
from agentcache.engine.stores.port import EntryStore, EntrySummary, Put
from agentcache.engine.stores.selection import matches
from agentcache.kit.clock import ManualClock
from tests.support.entries import STORED_AT, make_entry, make_key, make_tenant

T = TypeVar("T")
GRACE_SECONDS = 100.0
TENANTS = [make_tenant("team_a"), make_tenant("team_b")]
EVERYTHING = Selector()
names = st.integers(0, 7)
tenants = st.sampled_from(TENANTS)
tags = st.lists(st.sampled_from(["red", "blue", "green"]), max_size=2, unique=True).map(tuple)
sources = st.lists(st.sampled_from(["https://a.example/", "https://b.example/"]), max_size=1).map(tuple)
selectors = st.one_of(
    st.just(Selector()),
    st.lists(names, min_size=1, max_size=3).map(lambda found: Selector(keys=tuple(map(make_key, found)))),
    st.sampled_from(["prod", "eval"]).map(lambda namespace: Selector(namespace=namespace)),
    st.sampled_from(["red", "blue", "green"]).map(lambda tag: Selector(tags=(tag,))),
    st.sampled_from(["https://a.example/", "https://b.example/"]).map(lambda source: Selector(source=source)),
    st.sampled_from(["prod/*", "*/[0-3]", "eval/openai/gpt-?/*"]).map(lambda pattern: Selector(pattern=pattern)),
    st.floats(STORED_AT - 10, STORED_AT + 500).map(lambda at: Selector(stored_before=at)),
    st.builds(Selector, namespace=st.sampled_from(["prod", "eval"]), tags=st.just(("red", "blue"))),
)


def shown(entry: Entry) -> Entry:
    """Return an entry of the model as a store returns it."""
    return entry if entry.stale_at is None else replace(entry, meta=outdated(entry.meta, entry.stale_at))


class StoreMachine(RuleBasedStateMachine):
    """Subclass, and define `open_store`, which opens the same storage each time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(STORED_AT)
        self.model: dict[tuple[str, bytes], Entry] = {}
        #: Fills under way: (tenant, entry, mark, whether a matching invalidation has come since).
        self.fills: list[list[Any]] = []
        self.store: EntryStore
        self.versions = 0

    @abstractmethod
    def open_store(self) -> EntryStore:
        """Open the storage, the same one each time."""

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.store = self.open_store()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()

    def make(self, name: int, namespace: str, its_tags: tuple[str, ...], its_sources: tuple[str, ...]) -> Entry:
        self.versions += 1
        return make_entry(
            name, b"%d:%d" % (name, self.versions), namespace=namespace, tags=its_tags, sources=its_sources,
            stored_at=self.clock.now(), lifetime_seconds=50.0 + 25 * (self.versions % 5),
        )  # fmt: skip

    def alive(self, tenant: Tenant, selector: Selector = EVERYTHING) -> dict[bytes, Entry]:
        return {
            key: entry
            for (owner, key), entry in self.model.items()
            if owner == tenant.id
            and entry.meta.expires_at + GRACE_SECONDS > self.clock.now()
            and matches(selector, key, entry.meta)
        }

    @rule(tenant=tenants, name=names, namespace=st.sampled_from(["prod", "eval"]), its_tags=tags, its_sources=sources)
    def put(self, tenant: Tenant, name: int, namespace: str, its_tags: Any, its_sources: Any) -> None:
        entry = self.make(name, namespace, its_tags, its_sources)
        assert self.run(self.store.put(tenant, entry)) is Put.STORED
        self.model[tenant.id, entry.key] = entry

    @rule(tenant=tenants, name=names, namespace=st.sampled_from(["prod", "eval"]), its_tags=tags, its_sources=sources)
    def begin_fill(self, tenant: Tenant, name: int, namespace: str, its_tags: Any, its_sources: Any) -> None:
        mark: Mark = self.run(self.store.get(tenant, make_key(name))).mark
        self.fills.append([tenant, self.make(name, namespace, its_tags, its_sources), mark, False])

    @precondition(lambda self: self.fills)
    @rule(which=st.integers(0, 100))
    def end_fill(self, which: int) -> None:
        tenant, entry, mark, outdated = self.fills.pop(which % len(self.fills))
        outcome = self.run(self.store.put(tenant, entry, mark))
        assert outcome is (Put.SUPERSEDED if outdated else Put.STORED)
        if outcome is Put.STORED:
            self.model[tenant.id, entry.key] = entry

    @rule(tenant=tenants, name=names)
    def get(self, tenant: Tenant, name: int) -> None:
        found = self.run(self.store.get(tenant, make_key(name))).entry
        expected = self.alive(tenant).get(make_key(name))
        assert found == (shown(expected) if expected is not None else None)

    @rule(tenant=tenants, selector=selectors)
    def invalidate(self, tenant: Tenant, selector: Selector) -> None:
        meant = self.alive(tenant, selector)
        assert self.run(self.store.count(tenant, selector)) == len(meant)
        assert self.run(self.store.invalidate(tenant, selector)) == len(meant)
        for key in [key for owner, key in self.model if owner == tenant.id]:
            if matches(selector, key, self.model[tenant.id, key].meta):
                del self.model[tenant.id, key]
        for fill in self.fills:
            fill[3] |= fill[0] == tenant and matches(selector, fill[1].key, fill[1].meta)

    @rule(tenant=tenants, selector=selectors)
    def mark_stale(self, tenant: Tenant, selector: Selector) -> None:
        meant = self.alive(tenant, selector)
        reach = self.run(self.store.withdraw(tenant, selector, soft=True))
        assert (reach.entries, sum(reach.namespaces.values())) == (len(meant), len(meant))
        for key in meant:
            entry = self.model[tenant.id, key]
            self.model[tenant.id, key] = replace(entry, stale_at=earlier(entry.stale_at, self.clock.now()))
        for fill in self.fills:
            fill[3] |= fill[0] == tenant and matches(selector, fill[1].key, fill[1].meta)

    @rule(tenant=tenants, selector=selectors, limit=st.integers(1, 5))
    def list_entries(self, tenant: Tenant, selector: Selector, limit: int) -> None:
        listed: list[EntrySummary] = []
        cursor = ""
        while True:
            page = self.run(self.store.list_entries(tenant, selector, cursor=cursor, limit=limit))
            listed += page.rows
            cursor = page.cursor
            if not cursor:
                break
        expected = self.alive(tenant, selector)
        assert {row.key: row.meta for row in listed} == {key: shown(entry).meta for key, entry in expected.items()}
        assert len(listed) == len(expected)
        ages = [row.meta.stored_at for row in listed]
        assert ages == sorted(ages, reverse=True)

    @rule(seconds=st.sampled_from([1.0, 20.0, 60.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule()
    def sweep(self) -> None:
        self.run(self.store.sweep())
        for tenant in TENANTS:
            entries = self.alive(tenant)
            stats = self.run(self.store.stats(tenant))
            assert stats.entries == len(entries)
            assert stats.body_bytes == sum(len(entry.body) for entry in entries.values())
            namespaces = [entry.meta.namespace for entry in entries.values()]
            assert stats.namespaces == {name: namespaces.count(name) for name in namespaces}

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.open_store()

    @invariant()
    def nothing_leaks(self) -> None:
        if hasattr(self, "store") and self.versions % 5 == 0:
            for tenant in TENANTS:
                assert self.run(self.store.count(tenant, Selector())) == len(self.alive(tenant))
