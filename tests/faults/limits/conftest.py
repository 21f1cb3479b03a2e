from __future__ import annotations

import contextlib
from typing import Any

import pytest
from pysqlite3 import dbapi2 as sqlite3

from agentcache.kit.ids import new_id
from tests.support.gateway import FullGateway


class LimitedGateway(FullGateway):
    """The product with two workers, whose limits a test sets as the control plane would."""

    def set_limit(self, team: str, kind: str = "team", subject: str = "", **numbers: int) -> None:
        row = {"id": new_id(), "team_id": self.team_id(team), "kind": kind, "subject": subject, "is_hard": 1, **numbers}
        columns = ", ".join(row)
        self._write(f"INSERT INTO quotas_limit ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

    def set_behaviour(self, team: str, *, serves_hits: bool, plan: str = "self_hosted") -> None:
        self._write(
            "INSERT INTO quotas_teamplan (team_id, plan, is_hard, serves_hits_over_quota) VALUES (?, ?, 1, ?)",
            [self.team_id(team), plan, serves_hits],
        )

    def use(self, team: str, kind: str = "team", subject: str = "") -> tuple[int, int]:
        """Return requests as recorded, and as the enforcing counters said."""
        rows = self._read(
            "SELECT requests, counted_requests FROM quotas_monthlyuse WHERE team_id = ? AND kind = ? AND subject = ?",
            [self.team_id(team), kind, subject],
        )
        return rows[0] if rows else (0, 0)

    def _connect(self) -> Any:
        return contextlib.closing(sqlite3.connect(str(self.settings.app_db), timeout=20))

    def _read(self, statement: str, values: list[Any]) -> list[Any]:
        with self._connect() as connection:
            return connection.execute(statement, values).fetchall()

    def _write(self, statement: str, values: list[Any]) -> None:
        with self._connect() as connection, connection:
            connection.execute(statement, values)


TEAMS = (
    *(f"team{number}" for number in range(8)),
    *(f"native{number}" for number in range(3)),
    "batch0",
    "batch1",
    "flood",
    "budget0",
    "unpriced0",
)


@pytest.fixture(scope="package", params=["sqlite", "redis"])
def limited(request, tmp_path_factory, _provider):
    settings = {"AGENTCACHE_STORE_BUDGET_MS": "5000"}
    if request.param == "redis":
        settings["AGENTCACHE_REDIS_URL"] = request.getfixturevalue("_redis_url")
    folder = tmp_path_factory.mktemp(f"limited-{request.param}")
    with LimitedGateway(folder, _provider, workers=2, teams=TEAMS, **settings) as gateway:
        gateway.kind = request.param
        yield gateway
