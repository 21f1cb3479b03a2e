"""Output files: copied into our store when a prediction succeeds, and served from our host.

A file's URL is its key: 128 random bits, because browsers and SDKs fetch files without an AgentCache key. Such a file
lives only as long as the entry it belongs to, so whoever removes the entry removes the files.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b32decode, b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import urandom

from agentcache.engine.entries import Entry, EntryMeta, Mark, Selector, Tenant
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.gateway.asgi_types import ASGIScope, HeaderList, Send, send_whole
from agentcache.gateway.calls import Parts
from agentcache.gateway.predictions.outputs import file_name
from agentcache.gateway.whole_answers import read_whole
from agentcache.kit.crypto import derive
from agentcache.kit.egress.upstream import UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError, NotFound, UpstreamInvalid

PATH_PREFIX = "/replicate/files/"
ENDPOINT = "predictions.file"
FILES_MAX = 100
#: All files of one prediction together, in multiples of the largest entry.
ENTRIES_WORTH_MAX = 8
_FETCHES_AT_ONCE = 4
_TIMEOUTS = UpstreamTimeouts(connect=5.0, first_byte=30.0, idle=30.0, total=120.0)
#: A caller that was just given a URL keeps it this long at least, as it would at the provider.
URL_SECONDS = 3600.0
_TOKEN_BYTES = 16
_PATH = re.compile(PATH_PREFIX + r"(?P<tenant>[A-Za-z0-9_-]{1,64})\.(?P<token>[a-z2-7]{26})/(?P<name>[A-Za-z0-9._-]+)")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(?:; ?charset=[a-z0-9-]+)?")
#: What a browser may show in place: nothing in these can run a script on our origin.
_SHOWN_IN_PLACE = re.compile(r"image/(?:png|jpeg|gif|webp|avif)|(?:audio|video)/[a-z0-9.+-]+|text/plain")


class FileNotCopied(UpstreamInvalid):
    """An output file of the prediction could not be copied."""

    code = "file_not_copied"


@dataclass(frozen=True, slots=True)
class FileOwner:
    """The entry that files belong to, and what they share with it."""

    tenant: Tenant
    key: bytes
    meta: EntryMeta
    mark: Mark | None


def serves_file(path: str) -> bool:
    """Say whether a path is that of a copied file, which is served without authentication."""
    return path.startswith(PATH_PREFIX)


async def copy_files(parts: Parts, owner: FileOwner, urls: Sequence[str]) -> dict[str, str]:
    """Fetch the files and store them; return provider's URL -> our path. Raises `FileNotCopied`."""
    if len(urls) > FILES_MAX:
        raise FileNotCopied(f"The output names more than {FILES_MAX} files.")
    budget = _Budget(parts.settings.entry_max_bytes * ENTRIES_WORTH_MAX)
    at_once = asyncio.Semaphore(_FETCHES_AT_ONCE)

    async def copy(url: str) -> str:
        async with at_once:
            return await _copy(parts, owner, url, budget)

    tasks = [asyncio.ensure_future(copy(url)) for url in urls]
    try:
        paths = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return dict(zip(urls, paths, strict=True))


async def are_present(parts: Parts, tenant: Tenant, paths: Sequence[str]) -> bool:
    """Say whether every file is still in the store (without reading it)."""
    keys = []
    for path in paths:
        found = _PATH.fullmatch(path)
        if found is None or found["tenant"] != tenant.id:
            return False
        keys.append(_file_key(found["tenant"], found["token"]))
    try:
        return await parts.entries.count(tenant, Selector(keys=tuple(keys))) == len(set(keys))
    except StoreUnavailable:
        return False


async def serve_file(parts: Parts, asgi_scope: ASGIScope, send: Send, request_id: str) -> None:
    """Serve a copied file to whoever knows its URL. Raises `NotFound`, `StoreUnavailable`."""
    found = _PATH.fullmatch(asgi_scope["path"])
    if found is None or asgi_scope["method"] not in ("GET", "HEAD"):
        raise NotFound
    tenant = _file_tenant(found["tenant"], found["token"], encrypted=parts.settings.encrypt_entries)
    entry = (await parts.entries.get(tenant, _file_key(found["tenant"], found["token"]))).entry
    if entry is None or entry.meta.endpoint != ENDPOINT or entry.meta.expires_at <= parts.clock.now():
        raise NotFound
    owner_key = entry.meta.parts.get("owner", b"")
    if not await parts.entries.count(tenant, Selector(keys=(owner_key,))):
        raise NotFound
    headers = _file_headers(entry.meta.content_type, found["name"], request_id)
    if asgi_scope["method"] == "HEAD":
        headers.append((b"content-length", b"%d" % len(entry.body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send_whole(send, 200, headers, entry.body)


class _Budget:
    """Bytes that the files of one prediction may still take."""

    def __init__(self, byte_count: int) -> None:
        self._left = byte_count

    def spend(self, byte_count: int) -> None:
        self._left -= byte_count
        if self._left < 0:
            raise FileNotCopied("The output's files are larger than what is kept of one prediction.")


async def _copy(parts: Parts, owner: FileOwner, url: str, budget: _Budget) -> str:
    content_type, content = await _fetch(parts, url)
    budget.spend(len(content))
    token = b32encode(urandom(_TOKEN_BYTES)).decode("ascii").rstrip("=").lower()
    tenant = _file_tenant(owner.tenant.id, token, encrypted=owner.tenant.data_key is not None)
    meta = EntryMeta(
        namespace=owner.meta.namespace,
        dialect=owner.meta.dialect,
        endpoint=ENDPOINT,
        model=owner.meta.model,
        label=ENDPOINT,
        content_type=content_type,
        stored_at=owner.meta.stored_at,
        lifetime_seconds=owner.meta.lifetime_seconds + URL_SECONDS,
        tags=owner.meta.tags,
        sources=owner.meta.sources,
        writer=owner.meta.writer,
        parts={"owner": owner.key},
    )
    try:
        put = await parts.entries.put(tenant, Entry(_file_key(tenant.id, token), meta, content), since=owner.mark)
    except StoreUnavailable as error:
        parts.meter.count_store_error()
        raise FileNotCopied(code=error.code) from error
    if put is not Put.STORED:
        raise FileNotCopied(code="file_too_large" if put is Put.TOO_LARGE else put.value)
    return f"{PATH_PREFIX}{tenant.id}.{token}/{file_name(url)}"


async def _fetch(parts: Parts, url: str) -> tuple[str, bytes]:
    """Return media type and bytes of a file. No credential is sent: such URLs are public while they live."""
    headers = [(b"accept", b"*/*"), (b"accept-encoding", b"identity"), (b"user-agent", b"AgentCache")]
    try:
        response = await parts.upstream.send("GET", url, headers, b"", _TIMEOUTS)
        head, content = await read_whole(response, parts.settings.entry_max_bytes)
    except AgentCacheError as error:
        raise FileNotCopied from error
    if head.status != 200:
        raise FileNotCopied
    given = next((value for name, value in head.headers if name.lower() == b"content-type"), b"")
    content_type = given.decode("latin-1").strip().lower()
    return content_type if _MEDIA_TYPE.fullmatch(content_type) else "application/octet-stream", content


def _file_key(tenant_id: str, token: str) -> bytes:
    # The store learns a digest, so that nobody who reads it can make the URL.
    return hashlib.sha256(f"{PATH_PREFIX}{tenant_id}.{token}".encode()).digest()


def _file_tenant(tenant_id: str, token: str, *, encrypted: bool) -> Tenant:
    """Return the tenant with the key of one file: it must open for whoever has the URL, and for nobody else."""
    data_key = derive(b32decode(token.upper() + "======"), "replicate file") if encrypted else None
    return Tenant(id=tenant_id, key_secret=b"", data_key=data_key)


def _file_headers(content_type: str, name: str, request_id: str) -> HeaderList:
    in_place = _SHOWN_IN_PLACE.fullmatch(content_type.partition(";")[0].strip()) is not None
    disposition = f'{"inline" if in_place else "attachment"}; filename="{name}"'
    return [
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", disposition.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"access-control-allow-origin", b"*"),
        (b"referrer-policy", b"no-referrer"),
        # A removed file is gone at once, so nobody in between may keep it.
        (b"cache-control", b"no-store"),
        (b"x-agentcache-request-id", request_id.encode()),
    ]


def absolute(paths: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return provider's URL -> our URL for a caller that reaches us at `origin`."""
    return {url: origin + path for url, path in paths.items()}
