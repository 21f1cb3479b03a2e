"""Requests that a team wants kept, so that they can be asked again later: on their way to the database, like usage.

Only what was just fetched and stored is kept, never on the way of a hit, and only for teams that want it. Requests are sealed
with a key of their team before they reach the disk. Of embeddings, whose items are entries of their own, each item is kept as
the request that has it alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgspec

from agentcache.engine.entries import EntryMeta, Tenant
from agentcache.engine.freshness import FRESH_SHARE
from agentcache.gateway.batch_files import BatchFiles, waiting_files
from agentcache.kit.clock import Clock
from agentcache.kit.crypto import associated_data, derive, open_sealed, seal

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call

#: Larger bodies are not kept.
BODY_BYTES_MAX: Final = 64 * 1024
#: Items of embeddings that one process keeps in a second, the newest: two calls of the size that most providers take.
ITEMS_WAITING_MAX: Final = 4_096
#: Whoever embeds a whole library while no job worker takes the files must not fill the disk with it.
ITEM_FILES_MAX: Final = 500
#: Answers that are good for less are never refreshed ahead: that would be a provider asked all day long.
AHEAD_LIFETIME_SECONDS_MIN: Final = 300.0
_SUFFIX: Final = ".requests"
#: Directives that are asked again; how the cache was to be used that one time is not.
_DIRECTIVES: Final = ("tags", "sources", "ttl", "bucket", "ignore")
_JSON = msgspec.json.Encoder()


class KeptRequest(msgspec.Struct, array_like=True, kw_only=True):
    """A request that was answered and stored; times are Unix seconds."""

    tenant_id: str
    #: Hexadecimal.
    cache_key: str
    dialect: str
    model: str
    stored_at: float
    expires_at: float
    #: What `open_request` opens.
    sealed: bytes
    #: Of the entry, as selectors read it: `namespace/dialect/model/label`.
    path: str = ""
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    #: When the answer is to be asked for anew before anybody does; 0 for never.
    refresh_at: float = 0.0
    #: Of an item of embeddings: the key of the whole request that a caller fetched it with, hexadecimal; "" for all else.
    asked_as: str = ""


class RequestKeeper(Protocol):
    """Takes requests that are to be kept."""

    def keep(self, call: Call, meta: EntryMeta) -> None:
        """Keep what `call` asked, now that its answer is stored. Never raises, never waits."""

    def keep_item(self, call: Call, content: Any, key: bytes, meta: EntryMeta) -> None:
        """Keep one item of the input of `call`, now that it is stored under `key`. Never raises, never waits."""


class KeepsNothing:
    """Keeps no requests."""

    def keep(self, call: Call, meta: EntryMeta) -> None:
        """Do nothing."""

    def keep_item(self, call: Call, content: Any, key: bytes, meta: EntryMeta) -> None:
        """Do nothing."""


class RequestSpool:
    """Implements `RequestKeeper` on a folder of finished files, from which the job worker takes them."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._files: BatchFiles[KeptRequest] = BatchFiles(folder, _SUFFIX, clock)
        # Beside the others, so that thousands of items push out none of those.
        self._items: BatchFiles[KeptRequest] = BatchFiles(
            folder, _SUFFIX, clock, waiting_max=ITEMS_WAITING_MAX, files_max=ITEM_FILES_MAX
        )

    def start(self) -> Self:
        """Begin to write files."""
        self._files.start()
        self._items.start()
        return self

    def keep(self, call: Call, meta: EntryMeta) -> None:
        """Keep what `call` asked, if its team wants that, or a policy needs it."""
        if _is_wanted(call, meta) and len(call.raw_body) <= BODY_BYTES_MAX:
            self._files.add(_kept(call, call.key, call.raw_body, meta))

    def keep_item(self, call: Call, content: Any, key: bytes, meta: EntryMeta) -> None:
        """Keep one item of the input of `call`, under the same conditions."""
        if not _is_wanted(call, meta):
            return
        body = _JSON.encode({**call.body, "input": content})
        if len(body) <= BODY_BYTES_MAX:
            # What the server asks for itself, with no API key, no caller asks for in these words.
            asked_as = call.key if call.principal.api_key_id else key
            self._items.add(_kept(call, key, body, meta, asked_as=asked_as.hex()))

    async def flush(self) -> None:
        """Write what waits into files."""
        await self._files.flush()
        await self._items.flush()

    async def close(self) -> None:
        """Stop, after writing what waits."""
        await self._files.close()
        await self._items.close()


def requests_dir(data_dir: Path) -> Path:
    """Return the folder of a server's files of kept requests."""
    return data_dir / "requests"


def waiting_request_files(folder: Path) -> list[Path]:
    """Return the finished files, oldest first."""
    return waiting_files(folder, _SUFFIX)


def read_requests(path: Path) -> list[KeptRequest]:
    """Return a file's requests. Raises `msgspec.DecodeError` when it is not one of ours."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[KeptRequest])


def seal_request(tenant: Tenant, cache_key: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Encrypt a request for its team, bound to its cache key."""
    plain = json.dumps([path, sorted(headers.items())]).encode() + b"\n" + body
    return seal(_key(tenant), plain, _place(tenant, cache_key))


def open_request(tenant: Tenant, cache_key: str, sealed: bytes) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    """Return path, headers and body of a sealed request. Raises `DecryptionFailed`."""
    head, _, body = open_sealed(_key(tenant), sealed, _place(tenant, cache_key)).partition(b"\n")
    path, headers = json.loads(head)
    return path, tuple((name, value) for name, value in headers), body


def _is_wanted(call: Call, meta: EntryMeta) -> bool:
    return call.principal.keeps_requests or _refresh_at(call, meta) > 0


def _kept(call: Call, key: bytes, body: bytes, meta: EntryMeta, *, asked_as: str = "") -> KeptRequest:
    return KeptRequest(
        tenant_id=call.principal.tenant.id,
        cache_key=key.hex(),
        dialect=call.dialect.name,
        model=call.model,
        stored_at=meta.stored_at,
        expires_at=meta.expires_at,
        sealed=seal_request(call.principal.tenant, key.hex(), call.path, _headers(call), body),
        path=meta.path,
        tags=meta.tags,
        sources=meta.sources,
        refresh_at=_refresh_at(call, meta),
        asked_as=asked_as,
    )


def _refresh_at(call: Call, meta: EntryMeta) -> float:
    """Return when an answer stops being fresh that a policy wants refreshed ahead; 0 for never."""
    if call.policy is None or not call.policy.refreshes_ahead or meta.lifetime_seconds < AHEAD_LIFETIME_SECONDS_MIN:
        return 0.0
    return meta.stored_at + FRESH_SHARE * meta.lifetime_seconds


def _headers(call: Call) -> dict[str, str]:
    """Return what changes the key or the entry; the namespace as it was in force."""
    given = call.caller.headers
    kept = {name: given[name] for name, _ in call.caller.key_headers if name in given}
    kept.update(
        {f"x-agentcache-{one}": given[f"x-agentcache-{one}"] for one in _DIRECTIVES if f"x-agentcache-{one}" in given}
    )
    return {**kept, "x-agentcache-namespace": call.namespace}


def _key(tenant: Tenant) -> bytes:
    return derive(tenant.key_secret, "kept requests")


def _place(tenant: Tenant, cache_key: str) -> bytes:
    return associated_data("kept request", tenant.id, cache_key)
