"""Redis entries keep the contract, on a single server and on a cluster."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.port import EntryStore
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.kit.clock import ManualClock
from tests.contract.entry_store import ENTRY_MAX_BYTES, GRACE_SECONDS, MAX_BYTES, EntryStoreContract, StoreMaker
from tests.support.entries import make_entry, make_key, make_tenant
from tests.support.redis_server import RedisCluster, RedisServer


def open_redis(url: str, clock: ManualClock, *, sealed: bool = False) -> RedisEntries:
    return RedisEntries(
        url,
        clock=clock,
        max_bytes=MAX_BYTES,
        entry_max_bytes=ENTRY_MAX_BYTES,
        grace_seconds=GRACE_SECONDS,
        sealed=sealed,
        # The faults have their own tests; here a busy machine must not look like one.
        pool_wait_seconds=60,
        socket_seconds=60,
        connect_seconds=60,
    )


class TestRedisEntries(EntryStoreContract):
    @pytest.fixture
    def make_store(self, redis_server: RedisServer, clock: ManualClock) -> StoreMaker:
        redis_server.command("FLUSHALL")

        async def make() -> EntryStore:
            return open_redis(redis_server.url, clock)

        return make


class TestEncryptedRedisEntries(EntryStoreContract):
    @pytest.fixture
    def tenant(self) -> Tenant:
        return make_tenant("team_a", data_key=bytes(range(32)))

    @pytest.fixture
    def stranger(self) -> Tenant:
        return make_tenant("team_b", data_key=bytes(range(1, 33)))

    def odd_tenant(self, name: str) -> Tenant:
        return make_tenant(name, data_key=bytes(range(2, 34)))

    @pytest.fixture
    def make_store(self, redis_server: RedisServer, clock: ManualClock) -> StoreMaker:
        redis_server.command("FLUSHALL")

        async def make() -> EntryStore:
            return EncryptedStore(open_redis(redis_server.url, clock, sealed=True))

        return make


class TestRedisClusterEntries(EntryStoreContract):
    @pytest.fixture
    def make_store(self, redis_cluster: RedisCluster, clock: ManualClock) -> StoreMaker:
        redis_cluster.flush()

        async def make() -> EntryStore:
            return open_redis(redis_cluster.url.replace("redis://", "redis+cluster://"), clock)

        return make

    async def test_a_tenant_is_followed_to_another_node(
        self, store: EntryStore, redis_cluster: RedisCluster, tenant: Tenant
    ) -> None:
        assert (await store.get(tenant, make_key("a"))).entry is None
        redis_cluster.flush()
        slot = key_slot(b"ac:1:{team_a}:log")
        owner, target = _owner_and_other(redis_cluster, slot)
        moved_to = target.command("CLUSTER", "MYID")
        for node in redis_cluster.nodes:
            node.command("CLUSTER", "SETSLOT", slot, "NODE", moved_to)
        try:
            await store.put(tenant, make_entry("a"))
            assert await self.found(store, tenant, "a") == make_entry("a")
            assert await store.invalidate(tenant, Selector()) == 1
            assert target.command("EXISTS", "ac:1:{team_a}:log") == 1
        finally:
            redis_cluster.flush()
            back_to = owner.command("CLUSTER", "MYID")
            for node in redis_cluster.nodes:
                node.command("CLUSTER", "SETSLOT", slot, "NODE", back_to)


def _owner_and_other(cluster: RedisCluster, slot: int) -> tuple[RedisServer, RedisServer]:
    number = next(n for n in range(3) if slot < (n + 1) * 16384 // 3)
    return cluster.nodes[number], cluster.nodes[(number + 1) % 3]
