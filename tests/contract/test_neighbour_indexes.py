"""Every index of questions keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.kit.clock import ManualClock
from tests.contract.neighbour_index import IndexMaker, NeighbourIndexContract
from tests.support.entries import make_tenant


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
