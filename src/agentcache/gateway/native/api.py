"""The native API: finds the route, lets the caller in or not, and hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.admission import Pass
from agentcache.gateway.asgi_types import ASGIScope, ClientGone, Receive, Send, send_whole
from agentcache.gateway.authenticate import require, require_address
from agentcache.gateway.callers import CallerReader
from agentcache.gateway.calls import Parts
from agentcache.gateway.limit_headers import with_headers
from agentcache.gateway.native.exchange import Exchange, check_directives
from agentcache.gateway.native.openapi import openapi_document
from agentcache.gateway.native.routes import ROUTES, Route
from agentcache.gateway.native.targets import NATIVE
from agentcache.gateway.ports import Outcome, Prewarmer, Principal, UsageTotals
from agentcache.gateway.problems import NO_PAGE, problem
from agentcache.gateway.refusals import is_refusal
from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound

OPENAPI_PATH = "/api/openapi.json"
_PREFIX = "/api/cache/"
#: Served by the control plane, for it is done by a job.
_NOT_HERE = "/api/cache/prewarm"


class MethodNotServed(BadRequest):
    """This path does not serve that method."""

    code = "method_not_allowed"
    status = 405


class NativeAPI:
    """Serves `/api/cache/…` and `/api/openapi.json`. `totals` is None where nobody counts calls, `prewarmer` where nobody asks again."""

    def __init__(
        self,
        parts: Parts,
        totals: UsageTotals | None = None,
        complete: Callable[[bytes], bytes] | None = None,
        prewarmer: Prewarmer | None = None,
    ) -> None:
        self._parts = parts
        self._totals = totals
        self._prewarmer = prewarmer
        #: Adds what others serve to the OpenAPI document.
        self._complete = complete
        self._document: bytes | None = None

    def owns(self, path: str) -> bool:
        """Say whether this serves the path."""
        if path.startswith(_NOT_HERE):
            return path[len(_NOT_HERE) :][:1] not in ("", "/")
        return path.startswith(_PREFIX) or path == OPENAPI_PATH

    async def serve(
        self, asgi_scope: ASGIScope, receive: Receive, send: Send, callers: CallerReader, request_id: str
    ) -> None:
        """Answer one request. Raises `AgentCacheError` for what becomes a problem."""
        started = self._parts.clock.monotonic()
        path, method = asgi_scope["path"], asgi_scope["method"]
        found = find_route(method, path)
        if isinstance(found, frozenset):
            await self._refuse_method(send, found, request_id)
            return
        if found is None:
            await self._send_document(send, request_id)
            return
        route, segments = found
        caller = callers.read(None, asgi_scope["headers"])
        principal = await self._parts.key_failures.authenticate(self._parts.authenticator, asgi_scope, caller)
        exchange = Exchange(
            parts=self._parts,
            asgi_scope=asgi_scope,
            receive=receive,
            send=send,
            request_id=request_id,
            started=started,
            caller=caller,
            principal=principal,
            path=segments,
            totals=self._totals,
            prewarmer=self._prewarmer,
        )
        await self._serve_recorded(route, exchange)

    async def _serve_recorded(self, route: Route, exchange: Exchange) -> None:
        """Serve, and make a usage event of what the route itself does not record: all but look-ups."""
        status = ClientGone.status
        try:
            require_address(
                exchange.principal, exchange.asgi_scope, exchange.caller, self._parts.settings.trusted_proxies
            )
            require_any(exchange.principal, route)
            await self._hold_to_limits(route, exchange)
            check_directives(exchange.caller.headers, may_limit_age=route.may_limit_age)
            await route.serve(exchange)
            status = route.status
        except AgentCacheError as error:
            status = error.status
            if not exchange.is_recorded and is_refusal(error):
                exchange.refuse(error, dialect=NATIVE, endpoint=route.name)
            if isinstance(error, StoreUnavailable):
                self._parts.meter.count_store_error()
            raise
        except Exception:
            status = AgentCacheError.status
            raise
        finally:
            if not exchange.is_recorded:
                exchange.record(
                    Outcome.BYPASS if status < 400 else Outcome.ERROR,
                    status,
                    dialect=NATIVE,
                    endpoint=route.name,
                    model="",
                    namespace=exchange.caller.directives.namespace or exchange.principal.namespace,
                )

    async def _hold_to_limits(self, route: Route, exchange: Exchange) -> None:
        admission, agent = self._parts.admission, exchange.caller.directives.agent
        if route.is_request:
            admitted = admission.admit(exchange.principal, agent)
            exchange.admitted = admitted if isinstance(admitted, Pass) else await admitted
            headers = exchange.admitted.headers
        else:
            headers = await admission.hold_to_rates(exchange.principal, agent)
        if headers:
            exchange.send = with_headers(exchange.send, headers)

    async def _send_document(self, send: Send, request_id: str) -> None:
        if self._document is None:
            document = openapi_document(self._parts.dialects)
            # In a thread: the routes of the pages' side are read when they are first asked for.
            self._document = await asyncio.to_thread(self._complete, document) if self._complete else document
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"public, max-age=60"),
            (b"x-agentcache-request-id", request_id.encode()),
            *NO_PAGE,
        ]
        await send_whole(send, 200, headers, self._document)

    async def _refuse_method(self, send: Send, allowed: frozenset[str], request_id: str) -> None:
        names = ", ".join(sorted(allowed))
        error = MethodNotServed(f"This path serves {names}.")
        headers, body = problem(error, request_id)
        headers.append((b"allow", names.encode()))
        await send_whole(send, error.status, headers, body)


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]] | frozenset[str] | None:
    """Return the route and its path parameters, None for the public document, or the methods that the path serves.

    Raises `NotFound` for a path that is none of ours.
    """
    if method == "HEAD":
        method = "GET"
    if path == OPENAPI_PATH:
        return None if method == "GET" else frozenset({"GET", "HEAD"})
    allowed: set[str] = set()
    for route in ROUTES:
        match = route.pattern.fullmatch(path)
        if match is not None:
            if route.method == method:
                return route, match.groupdict()
            allowed.add(route.method)
    if not allowed:
        raise NotFound("AgentCache has no such path; /api/openapi.json lists them all.")
    return frozenset(allowed | ({"HEAD"} if "GET" in allowed else set()))


def require_any(principal: Principal, route: Route) -> None:
    """Raise `Forbidden` unless the principal has one of the route's scopes (`admin` implies all)."""
    if principal.scopes.isdisjoint(route.scopes):
        require(principal, route.scopes[0])
