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


def forget(connection: apsw.Connection, tenant: Tenant, keys: Sequence[bytes], answer: bytes) -> None:
    """Let the rows of these keys that have an answer repeat nobody."""
    for key in keys:
        row = find_row(connection, tenant, key)
        if row is not None and row.kept.repeats == answer:
            _set_repeats(connection, tenant, row, b"")


def _set_repeats(connection: apsw.Connection, tenant: Tenant, row: StoredRow, repeats: bytes) -> None:
    kept = msgspec.structs.replace(row.kept, repeats=b"" if repeats == row.key else repeats)
    stored = pack_kept(tenant, kept, row.key, row.partition, row.embedder_id, row.normal_digest)
    connection.execute("UPDATE rows SET kept = ? WHERE id = ?", (stored, row.id))
