"""Databases of PostgreSQL that tests use one after another: to make one takes half a second, mostly of the kernel's.

What a test left in its database is deleted, and whatever else was changed is reason enough to give the next test a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

#: Rows that were deleted stay in the files, for nobody vacuums.
USES_MAX: Final = 50
_TABLES: Final = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
#: Differs as soon as a table, a column, an index, a constraint, a trigger, a function or a setting is another one.
_SHAPE: Final[LiteralString] = """
    SELECT (SELECT (count(*), max(oid))::text FROM pg_class), (SELECT count(*) FROM pg_attribute WHERE NOT attisdropped),
           (SELECT (count(*), max(oid))::text FROM pg_constraint), (SELECT (count(*), max(oid))::text FROM pg_trigger),
           (SELECT (count(*), max(oid))::text FROM pg_proc), (SELECT count(*) FROM pg_db_role_setting),
           (SELECT count(*) FROM pg_extension)
"""
_SEQUENCES: Final = "SELECT schemaname, sequencename, start_value, last_value FROM pg_sequences ORDER BY 1, 2"
_OTHERS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class State:
    """What a database is like before anybody uses it."""

    shape: Row
    sequences: list[Row]
    empty: list[str]
    #: Table -> digest of its rows, for those that have some.
    filled: dict[str, str]

    @classmethod
    def of(cls, connection: psycopg.Connection[Row]) -> State:
        """Look at a fresh database."""
        tables = [row[0] for row in connection.execute(_TABLES)]
        filled = _filled(connection, tables)
        shape = connection.execute(_SHAPE).fetchone()
        assert shape is not None
        return cls(
            shape,
            connection.execute(_SEQUENCES).fetchall(),
            [table for table in tables if table not in filled],
            {table: _digest(connection, table) for table in filled},
        )

    def restore(self, connection: psycopg.Connection[Row]) -> bool:
        """Make a database as it was; False when that takes more than deleting rows."""
        others = connection.execute(_OTHERS).fetchone()
        if others != (0,) or connection.execute(_SHAPE).fetchone() != self.shape:
            return False
        if any(_digest(connection, table) != digest for table, digest in self.filled.items()):
            return False
        with connection.transaction():
            # Neither keys nor triggers that guard what may only be appended to are asked.
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in _filled(connection, self.empty):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            for now, then in zip(connection.execute(_SEQUENCES).fetchall(), self.sequences, strict=True):
                if now != then:
                    schema, name, start, last = then
                    place = sql.Identifier(schema, name).as_string(connection)
                    connection.execute("SELECT setval(%s, %s, %s)", [place, last or start, last is not None])
        return True


@dataclass
class _Kept:
    url: str
    state: State
    uses: int = 0


@dataclass
class PostgresPool:
    """Databases that nobody uses now; `make` makes another one."""

    make: Callable[[], str]
    drop: Callable[[str], None]
    _free: list[_Kept] = field(default_factory=list)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Lend the address of a migrated database without rows of anybody's."""
        kept = self._free.pop() if self._free else self._new()
        yield kept.url
        kept.uses += 1
        with psycopg.connect(kept.url, autocommit=True) as connection:
            is_restored = kept.uses < USES_MAX and kept.state.restore(connection)
        if is_restored:
            self._free.append(kept)
        else:
            self.drop(kept.url)

    def _new(self) -> _Kept:
        url = self.make()
        with psycopg.connect(url, autocommit=True) as connection:
            return _Kept(url, State.of(connection))


def _filled(connection: psycopg.Connection[Row], tables: list[str]) -> list[str]:
    """Return those of the tables that have rows."""
    asked = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} WHERE EXISTS (SELECT 1 FROM {})").format(sql.Literal(table), sql.Identifier(table))
        for table in tables
    )
    return [row[0] for row in connection.execute(asked)]


def _digest(connection: psycopg.Connection[Row], table: str) -> str:
    rows = sql.SQL("SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t")
    found = connection.execute(rows.format(sql.Identifier(table))).fetchone()
    assert found is not None
    return str(found[0])
