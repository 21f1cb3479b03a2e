"""The tables of the cache file.

`entries` is what the hot path reads: one b-tree look-up by row id, written once. `catalog` holds what selecting,
listing and evicting need, apart from the bodies, so that a use or a scan touches small rows only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import apsw

#: "ACch": tells our file from any other SQLite database.
APPLICATION_ID = 0x41436368
SCHEMA_VERSION = 2
TABLES = ("store", "tenants", "entries", "catalog", "scopes", "links", "invalidations", "flights", "frames")

#: Everything that selecting by namespace, dialect, model, pattern and age looks at, and what is told of the entries
#: found: a million of them are counted and priced without one row being read.
CATALOG_BY_PATH = (
    "CREATE INDEX catalog_by_path ON catalog (tenant, path, dead_at, stored_at, scope, mark, cost_nanos, body_bytes)"
)

SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};

-- 'base': the first mark of this file. 'bytes': estimated disk use of all entries.
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- salt: exclusive-or of cache key and row id, so that no tenant can aim at another's rows.
-- mark: position of the last invalidation. floor: invalidations up to here are no longer in the log.
-- pending: how many invalidations in the log are acknowledged while some of their rows are still as they were.
CREATE TABLE tenants (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    salt INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX tenants_by_bytes ON tenants (bytes);

-- id: first 8 bytes of the cache key, salted. mark: the tenant's when the row was written; an invalidation means rows
-- with smaller marks. stale_at: since when a soft invalidation has the answer outdated.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    key BLOB NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    mark INTEGER NOT NULL DEFAULT 0,
    stale_at REAL
);

CREATE TABLE catalog (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    path TEXT NOT NULL,
    stored_at REAL NOT NULL,
    dead_at REAL NOT NULL,
    used_at REAL NOT NULL,
    hits INTEGER NOT NULL DEFAULT 0,
    body_bytes INTEGER NOT NULL,
    disk_bytes INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT 0,
    cost_nanos INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX catalog_by_age ON catalog (tenant, stored_at);
{CATALOG_BY_PATH};
CREATE INDEX catalog_by_use ON catalog (tenant, used_at);
CREATE INDEX catalog_by_death ON catalog (dead_at);

CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    dialect TEXT NOT NULL,
    model TEXT NOT NULL,
    entries INTEGER NOT NULL DEFAULT 0,
    body_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, namespace, dialect, model)
);

-- label: 't:' + tag or 's:' + source URL in its normal form.
CREATE TABLE links (
    tenant INTEGER NOT NULL,
    label TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (tenant, label, id)
) WITHOUT ROWID;
CREATE INDEX links_by_entry ON links (id);

-- soft: the entries are marked stale instead of removed. done: every row that was meant has been dealt with.
CREATE TABLE invalidations (
    tenant INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    at REAL NOT NULL,
    selector BLOB NOT NULL,
    soft INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, mark)
) WITHOUT ROWID;

-- One row per upstream call that workers share; several of one flight only while the earlier ones are read out.
CREATE TABLE flights (
    number INTEGER PRIMARY KEY,
    flight TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    leased_until REAL NOT NULL,
    finished_at REAL
);
CREATE INDEX flights_by_name ON flights (flight);

CREATE TABLE frames (
    flight INTEGER NOT NULL,
    position INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (flight, position)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """What one kind of file of ours holds. `seed` puts in the rows that every such file has."""

    application_id: int
    version: int
    schema: str
    tables: tuple[str, ...]
    seed: Callable[[apsw.Connection], None]


def _seed(connection: apsw.Connection) -> None:
    # Marks of a new file start above every mark of the file before it.
    connection.execute("INSERT INTO store VALUES ('base', ?), ('bytes', 0)", (time.time_ns() // 1000,))


CACHE_LAYOUT = Layout(APPLICATION_ID, SCHEMA_VERSION, SCHEMA, TABLES, _seed)
