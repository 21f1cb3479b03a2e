"""Invalidations in Redis whose rows are still there, and the sums from which they tell at once what they have met."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest

from agentcache.engine.entries import Entry, Reach, Selector
from agentcache.engine.stores import redis_log, redis_reach, redis_sums
from agentcache.engine.stores.framing import pack_head
from agentcache.engine.stores.port import Put
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.engine.stores.redis_keys import TenantKeys, describe
from agentcache.engine.stores.redis_link import Lane
from agentcache.kit.clock import ManualClock
from tests.contract.test_redis_entries import open_redis
from tests.support.entries import STORED_AT, assert_stale, make_entry, make_key, make_tenant
from tests.support.redis_server import RedisServer

TENANT = make_tenant()
KEYS = TenantKeys(TENANT.id)
SELECTORS = {
    "pattern": Selector(pattern="*/openai/*"),
    "pattern of labels": Selector(pattern="*/gpt-5/*[0-9]"),
    "tag": Selector(tags=("t", "u")),
    "source": Selector(source="https://example.com/a"),
    "keys": Selector(keys=tuple(make_key(i) for i in range(40))),
    "age": Selector(stored_before=STORED_AT),
    "everything": Selector(),
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(STORED_AT)


@pytest.fixture
async def store(redis_server: RedisServer, clock: ManualClock) -> AsyncIterator[RedisEntries]:
    redis_server.command("FLUSHALL")
    store = open_redis(redis_server.url, clock)
    yield store
    await store.close()


@pytest.fixture
async def other(store: RedisEntries, redis_server: RedisServer, clock: ManualClock) -> AsyncIterator[RedisEntries]:
    other = open_redis(redis_server.url, clock)
    yield other
    await other.close()


@pytest.fixture
def dying(store: RedisEntries, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the worker of `store` die after each reply, long enough ago for others to take over."""

    def die(work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        work.close()
        abandon(redis_server)
        return asyncio.ensure_future(asyncio.sleep(0))

    monkeypatch.setattr(store, "_start", die)


def abandon(redis_server: RedisServer) -> None:
    for mark in redis_log.pending_in(redis_server.command("GET", KEYS.marks)):
        redis_server.command("DEL", KEYS.lease(mark))


async def fill(store: RedisEntries, number: int = 40) -> None:
    entries = [make_entry(i, tags=("t",), sources=("https://example.com/a",), cost_usd_nanos=2) for i in range(number)]
    assert set(await asyncio.gather(*(store.put(TENANT, entry) for entry in entries))) == {Put.STORED}


def forget_sums(redis_server: RedisServer) -> None:
    redis_server.command("DEL", KEYS.summing)


async def totals_of(store: RedisEntries) -> redis_sums.Totals:
    return await store.link.run(KEYS.log, lambda lane: redis_sums.read(lane, KEYS, STORED_AT))


async def hits(store: RedisEntries, number: int = 40) -> list[int]:
    return [i for i in range(number) if (await store.get(TENANT, make_key(i))).entry is not None]


@pytest.mark.parametrize("summed", [True, False], ids=["from sums", "row by row"])
@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.usefixtures("dying")
async def test_what_is_acknowledged_is_gone_although_its_rows_are_there(
    store: RedisEntries, other: RedisEntries, redis_server: RedisServer, name: str, summed: bool
) -> None:
    await fill(store)
    assert (await totals_of(store)).are_whole
    if not summed:
        forget_sums(redis_server)
    for worker in (store, other):
        assert (await worker.get(TENANT, make_key(1))).entry is not None
    expected = Reach(40, 40 * 14, 80, {"default": 40})
    assert await store.survey(TENANT, SELECTORS[name]) == expected
    assert await store.withdraw(TENANT, SELECTORS[name]) == expected
    assert redis_server.command("HLEN", KEYS.catalog) == 40
    await store.put(TENANT, make_entry("later", tags=("t",), stored_at=STORED_AT + 1))
    for worker in (store, other):
        assert await hits(worker) == []
        assert (await worker.get(TENANT, make_key("later"))).entry is not None
        assert [row.meta.label for row in (await worker.list_entries(TENANT, Selector())).rows] == ["later"]
        assert [row.meta.label for row in (await worker.list_entries(TENANT, Selector(tags=("t",)))).rows] == ["later"]
        assert (await worker.stats(TENANT)).entries == await worker.count(TENANT, Selector()) == 1
        assert await worker.which(TENANT, Selector(), [make_key(1), make_key("later")]) == {make_key("later")}
    # Nothing counts twice.
    assert (await other.withdraw(TENANT, SELECTORS[name])).entries in {0, 1}
    await other.sweep()
    left = await other.count(TENANT, Selector())
    assert redis_server.command("HLEN", KEYS.catalog) == left <= 1
    assert redis_log.pending_in(redis_server.command("GET", KEYS.marks)) == []
    totals = await totals_of(other)
    assert (totals.are_whole, sum(its.entries for its in totals.scopes.values())) == (True, left)


@pytest.mark.usefixtures("dying")
async def test_a_fill_may_store_anew_what_is_still_to_be_removed(store: RedisEntries, other: RedisEntries) -> None:
    await fill(store)
    early = (await other.get(TENANT, make_key(1))).mark
    await store.withdraw(TENANT, Selector(tags=("t",)))
    late = (await other.get(TENANT, make_key(1))).mark
    assert await other.put(TENANT, make_entry(1, b"old", tags=("t",)), early) is Put.SUPERSEDED
    assert await other.put(TENANT, make_entry(1, b"new", tags=("t",)), late) is Put.STORED
    for _ in range(2):
        for worker in (store, other):
            assert await hits(worker) == [1]
        assert await store.survey(TENANT, Selector()) == Reach(1, 3, 0, {"default": 1})
        await other.sweep()


@pytest.mark.usefixtures("dying")
async def test_marks_whose_rows_are_as_they_were(store: RedisEntries, other: RedisEntries, clock: ManualClock) -> None:
    await fill(store)
    clock.move(5)
    await store.withdraw(TENANT, Selector(tags=("t",)), soft=True)
    clock.move(5)
    await store.withdraw(TENANT, Selector(keys=(make_key(3),)), soft=True)
    assert (await store.stats(TENANT)).entries == 40
    for _ in range(2):
        for worker in (store, other):
            await assert_stale(worker, TENANT, make_key(3), since=STORED_AT + 5, now=clock.now())
        await other.sweep()


async def test_the_earlier_of_two_marks_stays_whichever_is_written_first(
    store: RedisEntries, clock: ManualClock
) -> None:
    await fill(store, 1)
    for seconds in (9, -4, 2):
        clock.move(seconds)
        await store.withdraw(TENANT, Selector(), soft=True)
        await store.sweep()
    assert [row.stale_at for row in (await store.list_entries(TENANT, Selector())).rows] == [STORED_AT + 5]
    entry = (await store.get(TENANT, make_key(0))).entry
    assert entry is not None
    assert entry.stale_at == STORED_AT + 5


async def test_who_deals_with_the_rows_has_them_to_himself(
    store: RedisEntries, other: RedisEntries, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_start", lambda work: (work.close(), asyncio.ensure_future(asyncio.sleep(0)))[1])
    await fill(store)
    await store.withdraw(TENANT, Selector())
    await other.sweep()
    assert redis_server.command("HLEN", KEYS.catalog) == 40
    abandon(redis_server)
    await other.sweep()
    assert redis_server.command("HLEN", KEYS.catalog) == 0


@pytest.mark.usefixtures("dying")
async def test_a_look_up_takes_one_round_trip_also_while_rows_are_removed(
    store: RedisEntries, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store)
    await store.withdraw(TENANT, Selector(keys=(make_key(3),)))
    assert await hits(store, 2) == [0, 1]
    trips = 0
    ask_each = Lane.ask_each

    async def counted(lane: Lane, *commands: Any, **how: Any) -> Any:
        nonlocal trips
        trips += 1
        return await ask_each(lane, *commands, **how)

    monkeypatch.setattr(Lane, "ask_each", counted)
    assert await hits(store, 4) == [0, 1, 2]
    assert trips == 4


@pytest.mark.usefixtures("dying")
async def test_the_log_keeps_what_is_still_to_be_done(store: RedisEntries, clock: ManualClock) -> None:
    await fill(store)
    await store.withdraw(TENANT, Selector(tags=("t",)))
    clock.move(4000)
    await store.link.run(KEYS.log, lambda lane: redis_log.prune_log(lane, KEYS, clock.now()))
    assert await hits(store) == []
    await store.sweep()
    clock.move(4000)
    await store.sweep()
    (logged,) = await store.link.run(KEYS.log, lambda lane: lane.ask(("HLEN", KEYS.log)))
    assert logged == 2


# Counted from sums and by path


PATHS = {
    ("prod", "gpt-5"): ["alpha", "beta-1", "beta-22", "be\\ta", "b*ta", "bétä", "x\0y"],
    ("prod/eu", "gpt-5"): ["alpha", "beta-1"],
    ("eval", "gpt-5/mini"): ["alpha", "beta-3", "gamma", "be/ta"],
}


@pytest.mark.parametrize("cheaper", [0.1, 1e9], ids=["ranges", "filtered by Redis"])
@pytest.mark.parametrize(
    "pattern",
    ["*", "prod/*", "prod*", "*/gpt-5/*", "*beta*", "prod/openai/gpt-5/beta-*", "*/beta-?", "*be\\ta", "*b[*]ta", "*/b??ä",
     "*x?y", "*/ta", "*e/t*", "*/gpt-5/*/*", "?", "", "*[", "[pe]*/alpha", "eval/openai/gpt-5/mini/*", "prod/eu/openai/gpt-5/alpha", "*a", "nothing*"],
)  # fmt: skip
async def test_a_pattern_counts_the_same_in_every_way(
    store: RedisEntries, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, pattern: str, cheaper: float
) -> None:
    monkeypatch.setattr(redis_reach, "_LOOKING_IS_CHEAPER", cheaper)
    monkeypatch.setattr(redis_reach, "_READ_AT_ONCE", 2)
    number = 0
    for (namespace, model), labels in PATHS.items():
        for label in labels:
            number += 1
            cost = 1 << number
            entry = make_entry(
                number, b"x" * number, namespace=namespace, model=model, label=label, cost_usd_nanos=cost
            )
            await store.put(TENANT, entry)
    others = [
        Selector(pattern=pattern),
        Selector(pattern=pattern, namespace="prod"),
        Selector(pattern=pattern, model="gpt-5/mini"),
        Selector(pattern=pattern, stored_before=STORED_AT),
    ]
    assert (await totals_of(store)).are_whole
    counted = [await store.survey(TENANT, selector) for selector in others]
    forget_sums(redis_server)
    assert [await store.survey(TENANT, selector) for selector in others] == counted
    await store.sweep()
    assert (await totals_of(store)).are_whole
    assert [await store.survey(TENANT, selector) for selector in others] == counted
    for selector, reach in zip(others, counted, strict=True):
        for now in (STORED_AT, 0.0):
            assert len(await found_at(store, selector, now)) == reach.entries


async def found_at(store: RedisEntries, selector: Selector, now: float) -> set[bytes]:
    """Find what is to be removed: by path, or, within a day of the first entry, in the catalog."""

    async def work(lane: Lane) -> set[bytes]:
        return {key async for rows in redis_reach.find(lane, KEYS, selector, now) for key, _ in rows}

    return await store.link.run(KEYS.log, work)


async def test_redis_looks_through_paths_in_steps_and_answers_others_in_between(
    store: RedisEntries, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_reach, "_LOOKED_THROUGH_AT_ONCE", 10)
    await fill(store, 200)
    redis_server.command("CONFIG", "RESETSTAT")
    assert (await store.survey(TENANT, Selector(pattern="*/*9"))).entries == 20
    (steps,) = re.findall(r"cmdstat_zscan\W+calls\W+(\d+)", str(redis_server.command("INFO", "commandstats")))
    assert int(steps) >= 200 / 10 / 2
    assert (await store.withdraw(TENANT, Selector(pattern="*/*9"))).entries == 20
    assert await hits(store, 200) == [i for i in range(200) if i % 10 != 9]


async def test_what_is_dead_is_taken_off(store: RedisEntries, clock: ManualClock) -> None:
    for i in range(6):
        await store.put(TENANT, make_entry(i, b"12345", lifetime_seconds=100.0 if i % 3 else 1000.0, cost_usd_nanos=5))
    clock.move(800)
    assert await store.survey(TENANT, Selector()) == Reach(2, 10, 10, {"default": 2})
    await store.put(TENANT, make_entry(1, b"1", stored_at=clock.now()))
    assert await store.withdraw(TENANT, Selector(namespace="default")) == Reach(3, 11, 10, {"default": 3})


async def test_sums_follow_what_is_replaced_moved_and_removed(store: RedisEntries, redis_server: RedisServer) -> None:
    await fill(store, 3)
    await store.put(TENANT, make_entry(0, b"12345678", namespace="moved", cost_usd_nanos=7))
    await store.put(TENANT, make_entry(1, b"1", cost_usd_nanos=1))
    await store.invalidate(TENANT, Selector(keys=(make_key(2),)))
    await store.sweep()
    expected = Reach(2, 9, 8, {"default": 1, "moved": 1})
    assert await store.survey(TENANT, Selector()) == expected
    assert (await totals_of(store)).are_whole
    assert redis_server.command("ZCARD", KEYS.by_path) == 2
    await store.invalidate(TENANT, Selector())
    await store.sweep()
    assert redis_server.command("EXISTS", KEYS.by_path, KEYS.sums, KEYS.catalog) == 0


# Entries of the release before there were marks and sums


def put_as_before(redis_server: RedisServer, entry: Entry) -> None:
    frame = pack_head(entry.key, entry.meta, entry.body) + entry.body
    row = describe(entry.meta, entry.meta.expires_at + 600, len(entry.body), len(frame))
    packed = msgspec.msgpack.encode(msgspec.structs.astuple(row)[:-2])
    redis_server.command("SADD", "ac:1:tenants", TENANT.id)
    redis_server.command("HSET", KEYS.log, "floor", 1000, "mark", 1003)
    redis_server.command("SET", KEYS.entry(entry.key), frame, "PX", 4_000_000)
    redis_server.command("HSET", KEYS.catalog, entry.key, packed)
    for index, score in ((KEYS.by_age, row.stored_at), (KEYS.by_death, row.dead_at), (KEYS.by_use, row.stored_at)):
        redis_server.command("ZADD", index, score, entry.key)
    for label in row.labels:
        redis_server.command("SADD", KEYS.label(label), entry.key)
    redis_server.command("SADD", KEYS.namespaces, row.namespace)
    redis_server.command("HINCRBY", KEYS.totals, "body_bytes", row.body_bytes)


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.usefixtures("dying")
async def test_entries_of_the_release_before(store: RedisEntries, redis_server: RedisServer, swept: bool) -> None:
    entry = make_entry("a", tags=("t",), cost_usd_nanos=77)
    put_as_before(redis_server, entry)
    assert (await store.get(TENANT, entry.key)).entry == entry
    await store.put(TENANT, make_entry("b"))
    if swept:
        await store.sweep()
    assert (await totals_of(store)).are_whole is swept
    assert await store.survey(TENANT, Selector(pattern="default/*")) == Reach(2, 28, 77, {"default": 2})
    assert (await store.withdraw(TENANT, Selector(tags=("t",)))).entries == 1
    assert (await store.get(TENANT, entry.key)).entry is None
    await store.sweep()
    assert await store.survey(TENANT, Selector(pattern="default/*")) == Reach(1, 14, 0, {"default": 1})
    assert redis_server.command("HLEN", KEYS.catalog) == 1


async def test_a_release_that_knows_no_sums_writes_beside_them(store: RedisEntries, redis_server: RedisServer) -> None:
    await fill(store, 3)
    put_as_before(redis_server, make_entry("a"))
    assert not (await totals_of(store)).are_whole
    assert (await store.survey(TENANT, Selector())).entries == 4
    await store.sweep()
    assert (await totals_of(store)).are_whole
    assert (await store.survey(TENANT, Selector())).entries == 4


async def test_sums_are_made_anew_while_entries_come_and_go(
    store: RedisEntries, other: RedisEntries, redis_server: RedisServer
) -> None:
    await fill(store, 300)
    forget_sums(redis_server)
    sweeping = asyncio.gather(store.sweep(), other.sweep())
    for i in range(150):
        await other.put(TENANT, make_entry(2 * i, b"new", cost_usd_nanos=1))
        if i % 30 == 0:
            await store.invalidate(TENANT, Selector(keys=(make_key(2 * i + 1),)))
    await sweeping
    await store.sweep()
    assert (await totals_of(store)).are_whole
    from_sums = await store.survey(TENANT, Selector())
    forget_sums(redis_server)
    assert (
        from_sums
        == await store.survey(TENANT, Selector())
        == Reach(295, 150 * 3 + 145 * 14, 150 + 290, {"default": 295})
    )


@pytest.mark.usefixtures("dying")
async def test_a_redis_that_came_back_without_the_last_invalidation_gives_no_mark_twice(
    store: RedisEntries, other: RedisEntries, redis_server: RedisServer
) -> None:
    await fill(store, 4)
    kept = {name: redis_server.command("DUMP", name) for name in (KEYS.log, KEYS.marks)}
    await store.withdraw(TENANT, Selector(keys=(make_key(0),)))
    assert await hits(other, 4) == [1, 2, 3]
    for name, packed in kept.items():
        redis_server.command("RESTORE", name, 0, packed, "REPLACE")
    await store.withdraw(TENANT, Selector(keys=(make_key(1),)))
    assert await hits(other, 4) == [0, 2, 3]
