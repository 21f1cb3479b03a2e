"""A store whose answers only their tenant can read: AES-256-GCM under the tenant's data key.

Sealed are the body, the part fingerprints, the replayed headers and the writer. What entries are selected by stays
readable to the store (namespace, dialect, model, label, tags, sources, times, counts), but is bound to the sealed
values together with tenant, cache key and format: a row that was edited, moved, or sealed with another key is a miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from agentcache.engine.entries import ENTRY_FORMAT, Entry, EntryMeta, Lookup, Mark, Reach, Selector, Tenant, outdated
from agentcache.engine.stores.framing import SEAL_BYTES
from agentcache.engine.stores.guarded import CountedStore
from agentcache.engine.stores.port import Page, Put, StoreStats, StoreUnavailable
from agentcache.kit.crypto import DecryptionFailed, associated_data, open_sealed, seal

#: The part under which the sealed members of the metadata travel.
_SEALED_PART = ""
_encode = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(EntryMeta).decode


class _Hidden(msgspec.Struct, array_like=True):
    writer: str
    headers: tuple[tuple[str, str], ...]
    parts: dict[str, bytes]


_decode_hidden = msgspec.msgpack.Decoder(_Hidden).decode


class EncryptedStore:
    """Seals on the way in and opens on the way out; `store` must have been made with `sealed=True`.

    A tenant without a data key has no entries here and cannot store any: nothing is ever kept in clear.
    """

    def __init__(self, store: CountedStore) -> None:
        self.counters = store.counters
        self.reads_are_immediate = store.reads_are_immediate
        self._store = store

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up and open what is found."""
        found = await self._store.get(tenant, key)
        if found.entry is None:
            return found
        try:
            return Lookup(_open_entry(tenant, found.entry), found.mark)
        except (DecryptionFailed, msgspec.DecodeError):
            self.counters.corrupt += 1
            return Lookup(None, found.mark)

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Seal and store an entry."""
        return await self._store.put(tenant, _seal_entry(tenant, entry), since)

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches and return how many."""
        return await self._store.invalidate(tenant, selector)

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Invalidate what matches, and tell what was met."""
        return _opened(await self._store.withdraw(tenant, selector, soft=soft))

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""
        return _opened(await self._store.survey(tenant, selector))

    async def which(self, tenant: Tenant, selector: Selector, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` whose entries a selector means now."""
        return await self._store.which(tenant, selector, keys)

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""
        return await self._store.count(tenant, selector)

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first; rows that do not open are left out."""
        page = await self._store.list_entries(tenant, selector, cursor=cursor, limit=limit)
        rows = []
        for row in page.rows:
            try:
                meta, _ = _open_meta(tenant, row.key, row.meta)
            except (DecryptionFailed, msgspec.DecodeError):
                continue
            if row.stale_at is not None:
                meta = outdated(meta, row.stale_at)
            rows.append(replace(row, meta=meta, body_bytes=row.body_bytes - SEAL_BYTES))
        return Page(tuple(rows), page.cursor)

    async def stats(self, tenant: Tenant) -> StoreStats:
        """Return totals."""
        stats = await self._store.stats(tenant)
        return replace(stats, body_bytes=stats.body_bytes - SEAL_BYTES * stats.entries)

    async def sweep(self) -> int:
        """Delete what is dead and make room."""
        return await self._store.sweep()

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless a read works now."""
        await self._store.ping()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()


def _data_key(tenant: Tenant) -> bytes:
    if tenant.data_key is None:
        raise StoreUnavailable("entries are kept encrypted, and this tenant has no data key")
    return tenant.data_key


def _bind(tenant: Tenant, key: bytes, what: str, to: bytes) -> bytes:
    return associated_data("entry", str(ENTRY_FORMAT), what, tenant.id, key, to)


def _seal_entry(tenant: Tenant, entry: Entry) -> Entry:
    data_key = _data_key(tenant)
    meta = entry.meta
    hidden = _encode(_Hidden(meta.writer, meta.headers, meta.parts))
    # Through the codec once, because an int in a float's place would read back as another encoding.
    shown = _decode_meta(_encode(msgspec.structs.replace(meta, writer="", headers=(), parts={})))
    sealed = seal(data_key, hidden, _bind(tenant, entry.key, "meta", _encode(shown)))
    body = seal(data_key, entry.body, _bind(tenant, entry.key, "body", sealed))
    return Entry(entry.key, msgspec.structs.replace(shown, parts={_SEALED_PART: sealed}), body)


def _open_meta(tenant: Tenant, key: bytes, meta: EntryMeta) -> tuple[EntryMeta, bytes]:
    sealed = meta.parts.get(_SEALED_PART, b"")
    shown = msgspec.structs.replace(meta, parts={})
    opened = open_sealed(_data_key(tenant), sealed, _bind(tenant, key, "meta", _encode(shown)))
    hidden = _decode_hidden(opened)
    opened_meta = msgspec.structs.replace(shown, writer=hidden.writer, headers=hidden.headers, parts=hidden.parts)
    return opened_meta, sealed


def _open_entry(tenant: Tenant, entry: Entry) -> Entry:
    meta, sealed = _open_meta(tenant, entry.key, entry.meta)
    body = open_sealed(_data_key(tenant), entry.body, _bind(tenant, entry.key, "body", sealed))
    if entry.stale_at is not None:
        # Beside what is sealed: whoever can write to the store can take the mark off, as he can put an old file back.
        meta = outdated(meta, entry.stale_at)
    return Entry(entry.key, meta, body, entry.stale_at)


def _opened(reach: Reach) -> Reach:
    return replace(reach, body_bytes=reach.body_bytes - SEAL_BYTES * reach.entries)
