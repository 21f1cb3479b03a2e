"""Bringing a cache file of an earlier release up to date, with the entries that it holds."""

from __future__ import annotations

import apsw

from agentcache.engine.sources import normal_source
from agentcache.engine.stores.framing import Corrupt, head_meta
from agentcache.engine.stores.sqlite_file import all_rows
from agentcache.engine.stores.sqlite_schema import CATALOG_BY_PATH, SCHEMA_VERSION
from agentcache.kit.logs import get_logger

log = get_logger(__name__)


def upgrade(connection: apsw.Connection, version: int) -> None:
    """Bring a file from `version` to the present one in one transaction; raises apsw errors, and then changes nothing.

    About eight seconds for a million entries. Whoever calls keeps other processes from opening the file meanwhile.
    """
    log.info("cache file is brought up to date", schema=version, to=SCHEMA_VERSION)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if version < 2:
            _to_version_2(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _to_version_2(connection: apsw.Connection) -> None:
    """Marks of rows, soft and pending invalidations, costs in the catalog, sources in their normal form."""
    for change in (
        "tenants ADD COLUMN pending INTEGER NOT NULL DEFAULT 0",
        "entries ADD COLUMN mark INTEGER NOT NULL DEFAULT 0",
        "entries ADD COLUMN stale_at REAL",
        "catalog ADD COLUMN mark INTEGER NOT NULL DEFAULT 0",
        "catalog ADD COLUMN cost_nanos INTEGER NOT NULL DEFAULT 0",
        "invalidations ADD COLUMN soft INTEGER NOT NULL DEFAULT 0",
        "invalidations ADD COLUMN done INTEGER NOT NULL DEFAULT 1",
    ):
        connection.execute(f"ALTER TABLE {change}")
    connection.create_scalar_function("cost_of", _cost_of, 2, deterministic=True)
    connection.execute(
        "UPDATE catalog SET cost_nanos = (SELECT cost_of(e.key, e.head) FROM entries e WHERE e.id = catalog.id) "
        "WHERE id IN (SELECT id FROM entries)"
    )
    connection.execute("DROP INDEX catalog_by_path")
    connection.execute(CATALOG_BY_PATH)
    for (label,) in all_rows(connection, "SELECT DISTINCT label FROM links WHERE label LIKE 's:%'"):
        normal = f"s:{normal_source(label[2:])}"
        if normal != label:
            connection.execute("UPDATE OR REPLACE links SET label = ? WHERE label = ?", (normal, label))


def _cost_of(*row: object) -> int:
    """Return what an entry cost; a head that cannot be read costs nothing, and is removed when it is looked up."""
    key, head = row
    try:
        return head_meta(key, head).cost_usd_nanos if isinstance(key, bytes) and isinstance(head, bytes) else 0
    except Corrupt:
        return 0
