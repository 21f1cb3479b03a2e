"""Alive, ready, and the metrics: what an operator's machines ask."""

from __future__ import annotations

import asyncio
import os

import msgspec

from agentcache.engine.entries import Entry, EntryMeta, Tenant
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.asgi_types import ASGIScope, Send, send_whole
from agentcache.gateway.authenticate import require, require_address
from agentcache.gateway.callers import CallerReader
from agentcache.gateway.calls import Parts
from agentcache.gateway.metrics import CONTENT_TYPE, Metrics
from agentcache.gateway.ports import Directory, Scope
from agentcache.gateway.problems import NO_PAGE
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import AgentCacheError, NotFound

#: A canary slower than this means that callers wait as well.
CANARY_SECONDS = 1.0
_CANARY_TENANT = Tenant(id="agentcache-canary", key_secret=bytes(32))
_JSON = msgspec.json.Encoder()


class Health:
    """Serves `/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, parts: Parts, directory: Directory, metrics: Metrics) -> None:
        self._parts = parts
        self._directory = directory
        self._metrics = metrics
        # Well-formed and unknown, so that the directory really has to look.
        self._canary_api_key = new_api_key(test=True)
        #: Set when the server is told to stop, so that a balancer sends nothing new.
        self.is_stopping = False

    def owns(self, path: str) -> bool:
        """Say whether this serves the path."""
        return path in ("/healthz", "/readyz", "/metrics")

    async def serve(self, asgi_scope: ASGIScope, send: Send, callers: CallerReader, request_id: str) -> None:
        """Answer one request."""
        path = asgi_scope["path"]
        if asgi_scope["method"] not in ("GET", "HEAD"):
            raise NotFound
        headers = [(b"cache-control", b"no-store"), (b"x-agentcache-request-id", request_id.encode()), *NO_PAGE]
        if path == "/healthz":
            await send_whole(send, 200, [*headers, (b"content-type", b"application/json")], b'{"status":"alive"}')
        elif path == "/readyz":
            status, report = await self.ready()
            body = _JSON.encode(report)
            await send_whole(send, status, [*headers, (b"content-type", b"application/json")], body)
        else:
            caller = callers.read(None, asgi_scope["headers"])
            principal = await self._parts.key_failures.authenticate(self._parts.authenticator, asgi_scope, caller)
            require_address(principal, asgi_scope, caller, self._parts.settings.trusted_proxies)
            require(principal, Scope.ADMIN)
            body = self._metrics.exposition()
            await send_whole(send, 200, [*headers, (b"content-type", CONTENT_TYPE.encode())], body)

    async def ready(self) -> tuple[int, dict[str, object]]:
        """Send a canary through the whole path: who is calling, look up, store, look up again.

        A cache store in trouble makes the server `degraded`, not unready: calls still reach their provider.
        """
        if self.is_stopping:
            return 503, {"status": "stopping", "checks": {}}
        directory, store = await asyncio.gather(self._check_directory(), self._check_store())
        checks = {"directory": directory, "store": store}
        if directory != "ok":
            return 503, {"status": "unavailable", "checks": checks}
        return 200, {"status": "ready" if store == "ok" else "degraded", "checks": checks}

    async def _check_directory(self) -> str:
        try:
            async with asyncio.timeout(CANARY_SECONDS):
                await self._directory.find_principal(self._canary_api_key)
        except TimeoutError:
            return "slow"
        except AgentCacheError as error:
            return error.code
        return "ok"

    async def _check_store(self) -> str:
        entries = self._parts.entries
        # One key per process: two workers must not find each other's canary.
        key = os.getpid().to_bytes(8, "big") * 4
        meta = EntryMeta(dialect="canary", endpoint="canary", stored_at=self._parts.clock.now(), lifetime_seconds=60.0)
        try:
            async with asyncio.timeout(CANARY_SECONDS):
                found = await entries.get(_CANARY_TENANT, key)
                await entries.put(_CANARY_TENANT, Entry(key, meta, b"{}"), since=found.mark)
                if (await entries.get(_CANARY_TENANT, key)).entry is None:
                    return "lost"
        except TimeoutError:
            return "slow"
        except StoreUnavailable as error:
            return error.code
        return "ok"
