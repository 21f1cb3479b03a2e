"""The rows of tenants in the cache file."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import apsw

from agentcache.engine.stores.sqlite_file import all_rows


@dataclass(frozen=True, slots=True)
class TenantRow:
    """What never changes about a tenant in one file."""

    number: int
    salt: int

    def row_id(self, key: bytes) -> int:
        """Return the row of `key`: its first 8 bytes as a signed integer, salted."""
        return int.from_bytes(key[:8], "big", signed=True) ^ self.salt


def find_tenant(connection: apsw.Connection, tenant_id: str) -> TenantRow | None:
    """Return a tenant's row if it has one in this file."""
    found = all_rows(connection, "SELECT number, salt FROM tenants WHERE id = ?", (tenant_id,))
    return TenantRow(*found[0]) if found else None


def ensure_tenant(connection: apsw.Connection, tenant_id: str) -> TenantRow:
    """Return a tenant's row, made if need be. Its marks start where the file's do."""
    found = find_tenant(connection, tenant_id)
    if found is not None:
        return found
    salt = secrets.randbits(63)
    connection.execute(
        "INSERT INTO tenants (id, salt, mark, floor) SELECT ?, ?, value, value FROM store WHERE name = 'base'",
        (tenant_id, salt),
    )
    return TenantRow(connection.last_insert_rowid(), salt)
