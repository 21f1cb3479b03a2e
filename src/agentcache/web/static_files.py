"""Static files: names with a hash of their content in pages, served from the folders they are installed in.

No build step and no copies: the hash is computed on first use, a name with a hash may be kept for ever by browsers.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from django.contrib.staticfiles import finders
from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import Storage

STATIC_URL = "/static/"
_HASH_CHARS = 12
_HASHED_NAME = re.compile(rf"(.+)\.([0-9a-f]{{{_HASH_CHARS}}})(\.[A-Za-z0-9]+)")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    # An SVG that is opened by itself is a page, too.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; style-src 'unsafe-inline'; sandbox"),
)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HashedNames(Storage):
    """Django's static storage: `{% static %}` gives `/static/web/site.<hash>.css`."""

    def url(self, name: str | None) -> str:
        """Return the address of a static file; `FileNotFoundError` for one that does not exist."""
        if name is None or (digest := _digest(name)) is None:
            raise FileNotFoundError(name)
        path = PurePosixPath(name)
        return f"{STATIC_URL}{path.with_suffix('')}.{digest}{path.suffix}"


class StaticFiles:
    """ASGI application for `/static/…`; `added` are headers of every answer."""

    def __init__(self, added: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._always = [*_HEADERS, *added]

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Answer one request; without a hash in the name the answer has to be revalidated each time."""
        if scope["method"] not in ("GET", "HEAD"):
            await self._answer(send, 405, [(b"allow", b"GET, HEAD")])
            return
        name = scope["path"].removeprefix(STATIC_URL)
        wanted = None
        if (hashed := _HASHED_NAME.fullmatch(name)) is not None:
            name, wanted = hashed[1] + hashed[3], hashed[2]
        digest = await asyncio.to_thread(_digest, name)
        if digest is None or (wanted is not None and wanted != digest):
            await self._answer(send, 404, [(b"cache-control", b"no-store")])
            return
        await self._send_file(
            scope, send, name, digest, b"public, max-age=31536000, immutable" if wanted else b"no-cache"
        )

    async def _send_file(self, scope: Scope, send: Send, name: str, digest: str, cache_control: bytes) -> None:
        etag = f'"{digest}"'.encode()
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if content_type.startswith(("text/", "application/javascript")):
            content_type += "; charset=utf-8"
        headers = [(b"cache-control", cache_control), (b"etag", etag), (b"content-type", content_type.encode())]
        if any(header == b"if-none-match" and etag in value for header, value in scope["headers"]):
            await self._answer(send, 304, headers)
            return
        body = await asyncio.to_thread(_read, name)
        headers.append((b"content-length", str(len(body)).encode()))
        await self._answer(send, 200, headers, b"" if scope["method"] == "HEAD" else body)

    async def _answer(self, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *self._always]})
        await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=512)
def _digest(name: str) -> str | None:
    path = _find(name)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:_HASH_CHARS]


def _read(name: str) -> bytes:
    path = _find(name)
    return b"" if path is None else path.read_bytes()


def _find(name: str) -> Path | None:
    try:
        found = finders.find(name)
    except (SuspiciousOperation, ValueError):
        return None  # a path that leads out of the static folders, or none at all
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None
