"""The tables of the embedded index, and the statements that write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import apsw

from agentcache.engine.semantic.index.port import IndexRow
from agentcache.engine.stores.sqlite_file import all_rows, one_row
from agentcache.engine.stores.sqlite_schema import Layout

#: "ACsm": tells our file from any other SQLite database.
_APPLICATION_ID: Final = 0x4143736D
_VERSION: Final = 1

_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};

CREATE TABLE tenants (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL DEFAULT 0);

CREATE TABLE embedders (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);

-- Numbers are never used twice: copies in memory are told apart by them.
CREATE TABLE places (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL,
    digest BLOB NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, digest)
);

-- id: grows with every row, and a row's vector never changes, it is replaced as a whole: what is above the id last seen is new.
CREATE TABLE rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL,
    place INTEGER NOT NULL,
    embedder INTEGER NOT NULL,
    key BLOB NOT NULL,
    normal BLOB NOT NULL,
    stored_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    kept BLOB NOT NULL,
    UNIQUE (tenant, key)
);
CREATE INDEX rows_by_place ON rows (place, embedder);
CREATE INDEX rows_by_normal ON rows (place, normal);
CREATE INDEX rows_by_tenant ON rows (tenant);
CREATE INDEX rows_by_expiry ON rows (expires_at);

CREATE TABLE quarantine (
    tenant INTEGER NOT NULL,
    key BLOB NOT NULL,
    until REAL NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
"""

LAYOUT: Final = Layout(
    _APPLICATION_ID, _VERSION, _SCHEMA, ("tenants", "embedders", "places", "rows", "quarantine"), lambda _: None
)

#: Stands for "until it is released"; sorts after every time.
FOR_EVER: Final = 9e18


def ensure_tenant(connection: apsw.Connection, tenant_id: str) -> int:
    """Return a tenant's number, made if need be."""
    connection.execute("INSERT INTO tenants (id) VALUES (?) ON CONFLICT DO NOTHING", (tenant_id,))
    return int(one_row(connection, "SELECT number FROM tenants WHERE id = ?", (tenant_id,))[0])


def find_tenant(connection: apsw.Connection, tenant_id: str) -> int | None:
    """Return a tenant's number if it has one in this file."""
    found = all_rows(connection, "SELECT number FROM tenants WHERE id = ?", (tenant_id,))
    return int(found[0][0]) if found else None


def insert_row(connection: apsw.Connection, tenant_id: str, row: IndexRow, kept: bytes, place_rows_max: int) -> None:
    """Put a row in place of the one with the same key, and let the oldest of an overfull partition go."""
    tenant = ensure_tenant(connection, tenant_id)
    delete_rows(connection, "tenant = ? AND key = ?", (tenant, row.key))
    connection.execute("INSERT INTO embedders (id) VALUES (?) ON CONFLICT DO NOTHING", (row.embedder_id,))
    connection.execute(
        "INSERT INTO places (tenant, digest) VALUES (?, ?) ON CONFLICT DO NOTHING", (tenant, row.partition)
    )
    place, rows = one_row(
        connection, "SELECT number, rows FROM places WHERE tenant = ? AND digest = ?", (tenant, row.partition)
    )
    connection.execute(
        "INSERT INTO rows (tenant, place, embedder, key, normal, stored_at, expires_at, kept) "
        "VALUES (?, ?, (SELECT number FROM embedders WHERE id = ?), ?, ?, ?, ?, ?)",
        (tenant, place, row.embedder_id, row.key, row.normal_digest, row.stored_at, row.expires_at, kept),
    )
    connection.execute("UPDATE places SET rows = rows + 1 WHERE number = ?", (place,))
    connection.execute("UPDATE tenants SET rows = rows + 1 WHERE number = ?", (tenant,))
    if rows >= place_rows_max:
        delete_oldest(connection, "place = ?", place, 2)


def put_in_quarantine(
    connection: apsw.Connection, tenant_id: str, key: bytes, until: float, reason: str, at: float
) -> None:
    """Put a key into quarantine; replaces an earlier one."""
    tenant = ensure_tenant(connection, tenant_id)
    connection.execute("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?)", (tenant, key, until, reason, at))


def find_quarantine(connection: apsw.Connection, tenant_id: str, key: bytes, now: float) -> tuple[float, str] | None:
    """Return until when and why a key is in quarantine; None where it is in none."""
    query = (
        "SELECT q.until, q.reason FROM quarantine q JOIN tenants t ON t.number = q.tenant WHERE t.id = ? AND q.key = ?"
    )
    for until, reason in all_rows(connection, query, (tenant_id, key)):
        if until > now:
            return until, reason
    return None


def delete_rows(connection: apsw.Connection, where: str, values: Sequence[object]) -> int:
    """Delete rows, keep the counts of tenants and partitions true, and return how many there were."""
    gone = all_rows(connection, f"DELETE FROM rows WHERE {where} RETURNING tenant, place", tuple(values))  # noqa: S608 - conditions of our own
    for table, column in (("tenants", 0), ("places", 1)):
        for number, count in Counter(row[column] for row in gone).items():
            connection.execute(f"UPDATE {table} SET rows = rows - ? WHERE number = ?", (count, number))  # noqa: S608 - names of our own
    return len(gone)


def delete_oldest(connection: apsw.Connection, where: str, value: int, count: int) -> int:
    """Delete the oldest rows of a tenant or a partition."""
    chosen = f"id IN (SELECT id FROM rows WHERE {where} ORDER BY id LIMIT ?)"  # noqa: S608 - conditions of our own
    return delete_rows(connection, chosen, (value, count))


def delete_expired(connection: apsw.Connection, now: float, count: int) -> int:
    """Delete up to `count` rows whose time is over, and quarantines and empty partitions that nobody needs."""
    chosen = "id IN (SELECT id FROM rows WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
    gone = delete_rows(connection, chosen, (now, count))
    connection.execute("DELETE FROM quarantine WHERE until <= ?", (now,))
    connection.execute("DELETE FROM places WHERE rows = 0")
    return gone


def delete_over(connection: apsw.Connection, rows_max: int, count: int) -> int:
    """Delete up to `count` of the oldest rows of the tenant that has most, while there are more than `rows_max`."""
    over = int(one_row(connection, "SELECT coalesce(sum(rows), 0) FROM tenants")[0]) - rows_max
    if over <= 0:
        return 0
    biggest = one_row(connection, "SELECT number FROM tenants ORDER BY rows DESC LIMIT 1")[0]
    return delete_oldest(connection, "tenant = ?", biggest, min(over, count))


def delete_tenant(connection: apsw.Connection, tenant_id: str) -> None:
    """Delete everything of a tenant."""
    tenant = find_tenant(connection, tenant_id)
    if tenant is None:
        return
    for table in ("rows", "places", "quarantine"):
        connection.execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608 - names of our own
    connection.execute("DELETE FROM tenants WHERE number = ?", (tenant,))
