"""Whose answer rows of the embedded index are known to have: read and changed in the sealed part of a row.

A row is changed where it stands. Copies in memory hold its vector alone, which stays the same; the rest is read from the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import apsw
import msgspec

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index import sqlite_layout as layout
from agentcache.engine.semantic.index.port import reason_to_follow, went_with
from agentcache.engine.semantic.index.rows import Kept, Unreadable, pack_kept, unpack
from agentcache.engine.stores.sqlite_file import all_rows

_ROW: Final = (
    "SELECT r.id, p.digest, e.id, r.normal, r.kept, r.expires_at, coalesce(q.until, 0) FROM tenants t "
    "JOIN rows r ON r.tenant = t.number JOIN places p ON p.number = r.place JOIN embedders e ON e.number = r.embedder "
    "LEFT JOIN quarantine q ON q.tenant = r.tenant AND q.key = r.key WHERE t.id = ? AND r.key = ?"
)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it stands in the file. Times are Unix seconds."""

    id: int
    key: bytes
    partition: bytes
    embedder_id: str
    normal_digest: bytes
    kept: Kept
    expires_at: float
    quarantined_until: float

    @property
    def answer(self) -> bytes:
        """The same for all rows that are known to have one answer."""
        return self.kept.repeats or self.key

    def is_found(self, now: float) -> bool:
        """Whether a search may find it."""
        return self.expires_at > now >= self.quarantined_until


def find_row(connection: apsw.Connection, tenant: Tenant, key: bytes) -> StoredRow | None:
    """Return the row of a key, in quarantine or not; None where there is none, or it does not open."""
    for row_id, partition, embedder_id, normal, stored, expires_at, until in all_rows(
        connection, _ROW, (tenant.id, key)
    ):
        try:
            kept = unpack(tenant, stored, key, partition, embedder_id, normal)
        except Unreadable:
            # As in a search: what does not open is no row.
            continue
        return StoredRow(row_id, key, bytes(partition), embedder_id, bytes(normal), kept, expires_at, until)
    return None


def repeat(connection: apsw.Connection, tenant: Tenant, key: bytes, other: bytes, now: float) -> None:
    """Note that the row of a key has the answer of another row of its partition."""
    row, repeated = find_row(connection, tenant, key), find_row(connection, tenant, other)
    if row is None or repeated is None or not (row.is_found(now) and repeated.is_found(now)):
        return
    if (row.partition, row.embedder_id) == (repeated.partition, repeated.embedder_id):
        _set_repeats(connection, tenant, row, repeated.answer)


def quarantine(
    connection: apsw.Connection, tenant: Tenant, key: bytes, until: float, reason: str, now: float
) -> StoredRow | None:
    """Put a key into quarantine, and whatever its answer goes by; return its row as it was.

    With both, what is added from now on with that answer follows.
    """
    row = find_row(connection, tenant, key)
    layout.put_in_quarantine(connection, tenant.id, key, until, reason, now)
    if row is not None:
        take_along(connection, tenant, [row.answer], row, until, now)
        _set_repeats(connection, tenant, row, b"")
    return row


def take_along(
    connection: apsw.Connection, tenant: Tenant, keys: Sequence[bytes], row: StoredRow, until: float, now: float
) -> None:
    """Have the rows of these keys go into quarantine with a row, as far as they have its answer still."""
    for key in keys:
        other = find_row(connection, tenant, key)
        if key == row.key or (key != row.answer and (other is None or other.answer != row.answer)):
            continue
        if layout.find_quarantine(connection, tenant.id, key, now) is None:
            layout.put_in_quarantine(connection, tenant.id, key, until, went_with(row.key), now)
        if other is not None:
            _set_repeats(connection, tenant, other, b"")


def follow(connection: apsw.Connection, tenant: Tenant, key: bytes, other: bytes, now: float) -> None:
    """Have the row of a key, which was just added and repeats another one, go where that one is in quarantine."""
    row, found = find_row(connection, tenant, key), layout.find_quarantine(connection, tenant.id, other, now)
    if row is None or found is None:
        return
    until, reason = found
    if layout.find_quarantine(connection, tenant.id, key, now) is None:
        layout.put_in_quarantine(connection, tenant.id, key, until, reason_to_follow(other, reason), now)
    _set_repeats(connection, tenant, row, b"")


def _set_repeats(connection: apsw.Connection, tenant: Tenant, row: StoredRow, repeats: bytes) -> None:
    if row.kept.repeats == repeats:
        return
    kept = msgspec.structs.replace(row.kept, repeats=b"" if repeats == row.key else repeats)
    stored = pack_kept(tenant, kept, row.key, row.partition, row.embedder_id, row.normal_digest)
    connection.execute("UPDATE rows SET kept = ? WHERE id = ?", (stored, row.id))
