"""How roll-ups are kept: one upsert per table, the same plain SQL on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from django.db import connection
from django.db.models import Model

from agentcache.analytics.histogram import BUCKET_COLUMNS
from agentcache.analytics.models import UsageCell, UsageLatency, UsageTotal
from agentcache.analytics.rollups import FILTERED, SUMS, Additions, Grain, Seen
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_CELL_KEY = ("team_id", "grain", "start", *FILTERED, "outcome")
_TOTAL_KEY = ("team_id", "dimension", "grain", "start", "value", "outcome")
_LATENCY_KEY = ("team_id", "dimension", "grain", "start", "value", "answer")
#: SQLite takes 32,766 parameters in one statement.
_PARAMETERS_MAX = 16_000


@dataclass(frozen=True, slots=True)
class _Upsert:
    model: type[Model]
    key: tuple[str, ...]
    sums: tuple[str, ...]

    @property
    def rows_max(self) -> int:
        return _PARAMETERS_MAX // (len(self.key) + len(self.sums))

    def statement(self, rows: int) -> str:
        table = self.model._meta.db_table
        columns = (*self.key, *self.sums)
        row = f"({', '.join(['%s'] * len(columns))})"
        added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in self.sums)
        return (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)} "  # noqa: S608 - our own names
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {added}"
        )


_TOTALS = _Upsert(UsageTotal, _TOTAL_KEY, SUMS)
_CELLS = _Upsert(UsageCell, _CELL_KEY, SUMS)
_LATENCIES = _Upsert(UsageLatency, _LATENCY_KEY, BUCKET_COLUMNS)


def keep(additions: Additions) -> None:
    """Add to the roll-ups; the caller's transaction also holds the events that were counted."""
    _add(_TOTALS, additions.totals)
    _add(_CELLS, additions.cells)
    _add(_LATENCIES, additions.latencies)


def _add(upsert: _Upsert, additions: dict[Any, list[int]]) -> None:
    # In one order everywhere: two writers that lock the same rows in different orders would wait for each other.
    for part in _parts(sorted(additions.items()), upsert.rows_max):
        execute(
            _statement(upsert, len(part), connection.vendor),
            list(chain.from_iterable((*key, *sums) for key, sums in part)),
        )


@cache
def _statement(upsert: _Upsert, rows: int, vendor: str) -> str:
    statement = upsert.statement(rows)
    return statement.replace("%s", "?") if vendor == "sqlite" else statement


def execute(statement: str, values: Sequence[str | int]) -> list[tuple[Any, ...]]:
    """Run a statement, written with the placeholders of the database's own driver, and return its rows."""
    if connection.vendor == "sqlite":
        # Past Django, which would translate thousands of placeholders anew for each statement.
        connection.ensure_connection()
        with connection.wrap_database_errors:
            return list(connection.connection.execute(statement, values))
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def _parts(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while part := list(islice(iterator, size)):
        yield part


def new_seen() -> Seen:
    """Return what is known of the values in use, read from the database when first asked for."""
    return Seen(_values_of, _cells_of)


def _values_of(team_id: str, day: int, dimension: str) -> Iterable[str]:
    rows = rows_of(Team(id=team_id), UsageTotal).filter(dimension=dimension, grain=Grain.DAY, start=day)
    return rows.values_list("value", flat=True).distinct()


def _cells_of(team_id: str, day: int) -> Iterable[tuple[str, ...]]:
    return rows_of(Team(id=team_id), UsageCell).filter(grain=Grain.DAY, start=day).values_list(*FILTERED).distinct()
