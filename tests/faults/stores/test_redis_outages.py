"""F8 to F12: Redis that is frozen, gone, refusing, slow, or back again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import structlog

from agentcache.engine.entries import Selector
from agentcache.engine.stores.breaker import BreakerState
from agentcache.engine.stores.open_stores import open_stores
from agentcache.engine.stores.port import Put, StoreBusy, StoreFull, StoreUnavailable, UnsuitableStore
from agentcache.kit.clock import SystemClock
from agentcache.settings import Settings
from tests.faults.stores.redis_stores import (
    TENANT,
    Caller,
    fresh_entry,
    guarded_redis,
    is_served,
    open_redis,
    seed,
    until,
)
from tests.support.chaos import ChaosProxy
from tests.support.entries import make_entry, make_key, make_tenant
from tests.support.fake_resp import FakeResp
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import count


async def test_f8_a_frozen_redis_costs_the_budget_and_then_nothing(redis_server: RedisServer) -> None:
    async with guarded_redis(redis_server.url) as store:
        await seed(store)
        callers = [Caller(store) for _ in range(20)]
        assert await is_served(store)
        redis_server.freeze()
        frozen_at = time.monotonic()
        calling = asyncio.gather(*(caller.call_for(count(3, 60) / 2, 0.01) for caller in callers))
        opened_after = await until(store, BreakerState.OPEN, 60)
        await calling
        redis_server.thaw()
        closed_after = await until(store, BreakerState.CLOSED, 60)
        assert await is_served(store)
        # Every call was answered: by the store before, by StoreUnavailable while frozen, never by a hang.
        calls = sum(sum(caller.outcomes.values()) for caller in callers)
        assert calls == sum(len(caller.times) for caller in callers)
        times = [seconds for caller in callers for _, seconds in caller.times]
        merged = Caller(store)
        merged.times = [pair for caller in callers for pair in caller.times]
        record(
            "F8",
            calls=calls,
            frozen_seconds=round(time.monotonic() - frozen_at, 1),
            opened_after_seconds=opened_after,
            closed_after_seconds=closed_after,
            slowest_ms=round(1000 * max(times), 1),
            p99_ms_before_open=merged.p99_ms(is_open=False),
            p99_ms_when_open=merged.p99_ms(is_open=True),
        )


async def test_f8_a_redis_that_was_killed_and_came_back_is_used_again(redis_server: RedisServer) -> None:
    async with guarded_redis(redis_server.url) as store:
        await seed(store)
        mark = (await store._store.get(TENANT, make_key("a"))).mark
        redis_server.kill()
        caller = Caller(store)
        await caller.call_for(0.3)
        assert store.state is not BreakerState.CLOSED
        assert set(caller.outcomes) == {"store_unavailable"}
        redis_server.start()
        await until(store, BreakerState.CLOSED, 60)
        inner = store._store
        assert (await inner.get(TENANT, make_key("a"))).entry is None
        # It came back empty: a fill from before cannot know what was invalidated, a new one can be stored.
        assert await inner.put(TENANT, fresh_entry("a"), mark) is Put.SUPERSEDED
        assert await inner.put(TENANT, fresh_entry("a"), (await inner.get(TENANT, make_key("a"))).mark) is Put.STORED


@pytest.mark.parametrize("mode", ["loading", "noauth", "busy", "moved", "garbage", "huge", "silent", "close"])
async def test_f9_a_redis_that_refuses_is_unavailable_and_never_hangs(mode) -> None:
    with FakeResp(mode) as fake:
        store = open_redis(fake.url)
        slowest = 0.0
        for call in (
            lambda: store.get(TENANT, make_key("a")),
            lambda: store.put(TENANT, fresh_entry("a")),
            lambda: store.invalidate(TENANT, Selector()),
            lambda: store.stats(TENANT),
        ):
            started = time.perf_counter()
            async with asyncio.timeout(60):
                with pytest.raises(StoreUnavailable):
                    await call()
            slowest = max(slowest, time.perf_counter() - started)
        await store.close()
        record(f"F9 {mode}", slowest_call_ms=round(1000 * slowest, 1))


async def test_f9_a_replica_takes_no_writes() -> None:
    with FakeResp("readonly") as fake:
        store = open_redis(fake.url)
        with pytest.raises(StoreUnavailable):
            await store.put(TENANT, fresh_entry("a"))
        with pytest.raises(StoreUnavailable):
            await store.invalidate(TENANT, Selector())
        await store.close()


async def test_f9_a_refused_connection_is_unavailable_at_once(redis_server: RedisServer) -> None:
    redis_server.kill()
    store = open_redis(redis_server.url)
    async with asyncio.timeout(30):
        with pytest.raises(StoreUnavailable):
            await store.get(TENANT, make_key("a"))
    await store.close()


async def test_f9_a_wrong_password_is_named_in_the_error(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "right-password")
    store = open_redis(redis_server.url.replace("redis://", "redis://:wrong-password@"))
    with pytest.raises(StoreUnavailable) as caught:
        await store.get(TENANT, make_key("a"))
    await store.close()
    assert "password" in caught.value.message
    assert "wrong-password" not in caught.value.message


async def test_f9_a_cluster_node_used_as_a_single_server_says_so() -> None:
    with FakeResp("moved") as fake:
        store = open_redis(fake.url)
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster"):
            await store.get(TENANT, make_key("a"))
        await store.close()


async def test_f9_a_full_redis_is_full_still_serves_and_makes_room(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with guarded_redis(redis_server.url, budget_ms=2000) as store:
        for i in range(200):
            await store.put(TENANT, fresh_entry(i, b"x" * 20_000))
        used = int(redis_server.command("INFO", "memory")["used_memory"])
        redis_server.command("CONFIG", "SET", "maxmemory", used)
        refused = stored = 0
        for i in range(200, 400):
            try:
                stored += await store.put(TENANT, fresh_entry(i, b"x" * 20_000)) is Put.STORED
            except StoreFull:
                refused += 1
                await asyncio.sleep(0.01)
        assert refused > 0
        assert stored > 0
        assert store.state is BreakerState.CLOSED
        # What is full can still be read, by newcomers too, and purged.
        newcomer = make_tenant("newcomer")
        redis_server.command("CONFIG", "SET", "maxmemory", "1mb")
        assert (await store.get(newcomer, make_key("a"))).entry is None
        redis_server.command("CONFIG", "SET", "maxmemory", used)
        assert (await store.get(TENANT, make_key("absent"))).entry is None
        assert await store.invalidate(TENANT, Selector()) > 0
        assert (await store.stats(TENANT)).entries == 0
        record("F9 oom", refused=refused, stored=stored)


async def test_a_redis_that_may_drop_indexes_is_not_used(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", 1 << 30)
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = open_redis(redis_server.url)
    with pytest.raises(UnsuitableStore, match="volatile-lru"):
        await store.get(TENANT, make_key("a"))
    await store.close()


async def test_f10_a_full_pool_is_a_bypass_and_not_an_outage(redis_server: RedisServer) -> None:
    with ChaosProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with guarded_redis(url, budget_ms=3000, pool_size=2, socket_seconds=3) as store:
            await store.put(TENANT, fresh_entry("a"))
            proxy.down.latency = 0.5
            started = time.perf_counter()
            results = await asyncio.gather(
                *(store.get(TENANT, make_key(i)) for i in range(200)), return_exceptions=True
            )
            took = time.perf_counter() - started
            served = [result for result in results if not isinstance(result, BaseException)]
            bypassed = [result for result in results if isinstance(result, StoreBusy)]
            assert len(served) + len(bypassed) == 200
            assert len(served) >= 2
            assert store.counters.pool_waits == len(bypassed)
            assert store.state is BreakerState.CLOSED
            assert store.breaker.opened == 0
            record("F10", callers=200, bypassed=len(bypassed), false_opens=0, all_answered_seconds=round(took, 2))


async def test_f10_a_slow_redis_opens_the_breaker(redis_server: RedisServer) -> None:
    with ChaosProxy(redis_server.port) as proxy:
        async with guarded_redis(f"redis://127.0.0.1:{proxy.port}/0") as store:
            await seed(store)
            proxy.down.latency = 1.0
            caller = Caller(store)
            await caller.call_for(0.4)
            assert store.state is not BreakerState.CLOSED
            assert set(caller.outcomes) == {"store_unavailable"}
            proxy.heal()
            await until(store, BreakerState.CLOSED, 60)
            assert await is_served(store)


async def test_a_slow_redis_is_waited_for_as_long_as_the_setting_says(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The connection has deadlines of its own, which must not cut a longer budget short."""
    with ChaosProxy(redis_server.port) as proxy:
        environ = {
            "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0",
            "STORE_BUDGET_MS": "30000",
            "DATA_DIR": str(tmp_path),
        }
        settings = Settings.from_env({f"AGENTCACHE_{name}": value for name, value in environ.items()})
        stores = open_stores(settings, SystemClock())
        proxy.down.latency = 0.5
        assert await stores.entries.put(make_tenant(), make_entry("a")) is Put.STORED
        await stores.close()


async def test_f11_half_open_sends_exactly_one_probe(redis_server: RedisServer) -> None:
    async with guarded_redis(redis_server.url, budget_ms=count(1_000, 300)) as store:
        await seed(store)
        redis_server.freeze()
        opening = Caller(store)
        async with asyncio.timeout(60):
            await asyncio.gather(*(opening.call_until(BreakerState.OPEN, 60, 0.01) for _ in range(20)))
        assert not store.breaker.lets_through
        redis_server.thaw()
        probes = store.breaker.probes
        callers = [Caller(store) for _ in range(500)]
        calling = asyncio.gather(*(caller.call_until(BreakerState.CLOSED, 10, 0.02) for caller in callers))
        await until(store, BreakerState.CLOSED, 60)
        sent = store.breaker.probes - probes
        await calling
        # One may have been under way when it thawed.
        assert sent <= 1
        assert await is_served(store)
        record("F11", waiting_callers=500, probes=sent)


async def test_f12_an_open_breaker_logs_only_its_changes(redis_server: RedisServer) -> None:
    with structlog.testing.capture_logs() as lines:
        async with guarded_redis(redis_server.url) as store:
            await seed(store)
            redis_server.kill()
            caller = Caller(store)
            await caller.call_for(1.0, 0)
            calls = sum(caller.outcomes.values())
    assert calls > 1000
    assert [line["event"] for line in lines] == ["store breaker opened"]
    record("F12", calls_while_down=calls, lines=len(lines))


async def test_entries_that_redis_evicted_by_itself_are_forgotten(redis_server: RedisServer) -> None:
    store = open_redis(redis_server.url)
    for i in range(50):
        await store.put(TENANT, fresh_entry(i, tags=("t",)))
    for name in redis_server.command("KEYS", "ac:1:{team_a}:e:*")[:30]:
        redis_server.command("DEL", name)
    await store.sweep()
    assert (await store.stats(TENANT)).entries == 20
    assert await store.count(TENANT, Selector(tags=("t",))) == 20
    assert len((await store.list_entries(TENANT, Selector(), limit=100)).rows) == 20
    await store.close()


async def test_c6_planted_values_are_misses_and_are_removed(redis_server: RedisServer, tmp_path) -> None:
    import os
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    store = open_redis(redis_server.url)
    planted = 0
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for value in (pickle.dumps(Bomb(), protocol), b"AC\x01\x00" + pickle.dumps(Bomb(), protocol), b"",
                      b"AC\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff", b'{"lc": 1, "type": "constructor"}'):  # fmt: skip
            entry = make_entry(planted)
            await store.put(TENANT, entry)
            redis_server.command("SET", b"ac:1:{team_a}:e:" + entry.key, value)
            planted += 1
            assert (await store.get(TENANT, entry.key)).entry is None
            assert store.counters.corrupt == planted
            assert redis_server.command("EXISTS", b"ac:1:{team_a}:e:" + entry.key) == 0
    assert (await store.stats(TENANT)).entries == 0
    assert list(tmp_path.iterdir()) == []
    await store.close()
    record("C6 redis", planted=planted, executions=0)
