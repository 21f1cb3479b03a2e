"""How roll-ups are kept: one upsert per table, plain SQL that differs between SQLite and PostgreSQL in how rows are passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
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

    def statement(self, rows: int, vendor: str) -> str:
        table = self.model._meta.db_table
        added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in self.sums)
        return (
            f"INSERT INTO {table} ({', '.join((*self.key, *self.sums))}) {rows_given(self.model, self.columns, rows, vendor)} "
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {added}"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.key, *self.sums)


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
    for part in parts(sorted(additions.items()), upsert.rows_max):
        rows = [(*key, *sums) for key, sums in part]
        vendor = connection.vendor
        execute(_statement(upsert, len(rows) if vendor == "sqlite" else 0, vendor), values_given(rows))


@cache
def _statement(upsert: _Upsert, rows: int, vendor: str) -> str:
    return upsert.statement(rows, vendor)


def rows_given(model: type[Model], columns: Sequence[str], rows: int, vendor: str) -> str:
    """Return how a statement takes so many rows, as `values_given` passes them.

    PostgreSQL gets an array for each column, of any length: its driver would read thousands of placeholders anew each time.
    """
    if vendor == "sqlite":
        row = f"({', '.join('?' * len(columns))})"
        return f"VALUES {', '.join([row] * rows)}"
    kinds = {field.attname: field.get_internal_type() for field in model._meta.concrete_fields}
    arrays = (f"%s::{'text' if kinds[name] == 'CharField' else 'bigint'}[]" for name in columns)
    return f"SELECT * FROM UNNEST({', '.join(arrays)})"  # noqa: S608 - names of our own columns


def values_given(rows: Sequence[Sequence[str | int]]) -> list[Any]:
    """Return the parameters of a statement that takes these rows."""
    if connection.vendor == "sqlite":
        return list(chain.from_iterable(rows))
    return [list(column) for column in zip(*rows, strict=True)]


def execute(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement, written with the placeholders of the database's own driver, and return its rows."""
    if connection.vendor == "sqlite":
        # Past Django, which would translate thousands of placeholders anew for each statement.
        connection.ensure_connection()
        with connection.wrap_database_errors:
            return list(connection.connection.execute(statement, values))
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def parts(rows: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """Split rows for statements that take at most so many.

    On SQLite each part is a power of two long. Its driver keeps every statement that differs, with its last parameters:
    200 KiB where it takes a thousand rows. With a statement for each number of rows that would be tens of MiB.
    """
    start = 0
    while left := min(len(rows) - start, most):
        size = 1 << (left.bit_length() - 1) if connection.vendor == "sqlite" else left
        yield rows[start : start + size]
        start += size


def new_seen() -> Seen:
    """Return what is known of the values in use, read from the database when first asked for."""
    return Seen(_values_of, _cells_of)


def _values_of(team_id: str, day: int, dimension: str) -> Iterable[str]:
    rows = rows_of(Team(id=team_id), UsageTotal).filter(dimension=dimension, grain=Grain.DAY, start=day)
    return rows.values_list("value", flat=True).distinct()


def _cells_of(team_id: str, day: int) -> Iterable[tuple[str, ...]]:
    return rows_of(Team(id=team_id), UsageCell).filter(grain=Grain.DAY, start=day).values_list(*FILTERED).distinct()
