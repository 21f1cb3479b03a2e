"""The door for URLs that a user can aim (webhooks, listeners): public https only, judged at the moment of connecting.

A name is resolved once; every address it has must be allowed; the socket is opened to the address that was judged, and
the other end is compared with it. Whatever fails, the caller may be shown one and the same sentence, so that nobody can
use us to look around inside; the reason is for the operator's log.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urljoin

from agentcache.kit.egress.addresses import is_public, may_be_allowed_by_name, plain_address
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.connecting import Endpoint, open_connection, resolve, tls_context
from agentcache.kit.egress.http1 import Connection, ExchangeFailed
from agentcache.kit.egress.target import Headers, InvalidTarget, Target, parse_target, request_head
from agentcache.kit.errors import AgentCacheError

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: What may follow a redirect to another origin; credentials never do.
_SAFE_HEADERS: Final = frozenset({b"accept", b"accept-language", b"content-type", b"user-agent"})


class EgressFailed(AgentCacheError):
    """The URL could not be requested."""

    code = "url_not_reachable"
    status = 502

    def __init__(self, reason: str, *, is_of_answer: bool = False) -> None:
        super().__init__()
        #: For logs and the operator; never for whoever aimed the URL.
        self.reason = reason
        #: Unless it is about an answer that came from where it was allowed to go: that tells nothing of our network.
        self.is_of_answer = is_of_answer


@dataclass(frozen=True, slots=True)
class GuardedLimits:
    """Bounds of one request, redirects included."""

    connect_seconds: float = 5.0
    total_seconds: float = 10.0
    body_bytes_max: int = 5 * 1024 * 1024
    #: Whether an answer may come compressed by gzip although identity was asked for. It is then given as it came, and stays
    #: so until somebody unpacks it within a bound of their own.
    may_be_gzip: bool = False


@dataclass(frozen=True, slots=True)
class GuardedResponse:
    """A whole answer. `url` is where it came from in the end."""

    status: int
    headers: Headers
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Headers
    body: bytes = field(repr=False)


class GuardedClient:
    """Requests user-aimed URLs, each over a connection of its own. Follows no redirect unless asked to."""

    def __init__(
        self,
        allow: AllowList | None = None,
        limits: GuardedLimits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: Callable[[str, int], Awaitable[list[Endpoint]]] = resolve,
    ) -> None:
        self._allow = allow or AllowList()
        self._limits = limits or GuardedLimits()
        self._tls = tls
        self._resolve = resolver

    async def request(
        self, method: str, url: str, headers: Headers, body: bytes = b"", *, max_redirects: int = 0
    ) -> GuardedResponse:
        """Send a request and return the whole answer, a redirect too when `max_redirects` is 0.

        Raises `InvalidTarget` for a URL that is refused for its spelling and `EgressFailed` for everything else.
        """
        current = _Request(method, url, headers, body)
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                for _ in range(max_redirects + 1):
                    response = await self._once(current)
                    location = dict(response.headers).get(b"location")
                    if response.status not in _REDIRECTS or location is None or max_redirects == 0:
                        return response
                    current = _redirected(current, response.status, location)
        except TimeoutError:
            raise EgressFailed("too slow") from None
        raise EgressFailed("too many redirects", is_of_answer=True)

    async def _once(self, request: _Request) -> GuardedResponse:
        target = parse_public_url(request.url)
        framing = b"content-length: %d\r\n" % len(request.body) if request.body or request.method != "GET" else b""
        # No decompression means no decompression bomb.
        headers = [pair for pair in request.headers if pair[0].lower() != b"accept-encoding"]
        head = request_head(request.method, target, [*headers, (b"accept-encoding", b"identity")], framing)
        connection = await self._connect(target)
        deadline = asyncio.get_running_loop().time() + self._limits.total_seconds
        try:
            await connection.start(head, request.body, chunked=False, deadline=deadline)
            coding = dict(connection.headers).get(b"content-encoding", b"identity").strip().lower()
            may_be = {b"", b"identity", *((b"gzip", b"x-gzip") if self._limits.may_be_gzip else ())}
            if coding not in may_be:
                raise EgressFailed("compressed although identity was asked for", is_of_answer=True)
            body = await self._read(connection, deadline)
            return GuardedResponse(connection.status, connection.headers, body, request.url)
        except ExchangeFailed as wrong:
            raise EgressFailed(wrong.detail) from None
        finally:
            connection.close()

    async def _read(self, connection: Connection, deadline: float) -> bytes:
        pieces: list[bytes] = []
        left = self._limits.body_bytes_max
        while piece := await connection.read(deadline):
            left -= len(piece)
            if left < 0:
                raise EgressFailed(f"more than {self._limits.body_bytes_max} bytes", is_of_answer=True)
            pieces.append(piece)
        return b"".join(pieces)

    async def _connect(self, target: Target) -> Connection:
        is_named = self._allow.permits_host(target.host)
        is_plain_public = target.is_tls and target.port == 443
        if not is_plain_public and not is_named and not self._allow.networks:
            raise EgressFailed("only https on port 443 is allowed")
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                endpoints = await self._resolve(target.host, target.port)
                self._judge(endpoints, is_named=is_named, needs_permission=not is_plain_public)
                if target.is_tls and self._tls is None:
                    self._tls = tls_context()
                connection = await open_connection(endpoints, self._tls if target.is_tls else None, target.host)
        except TimeoutError:
            raise EgressFailed("could not be connected to in time") from None
        except OSError as wrong:
            raise EgressFailed(f"could not be connected to: {type(wrong).__name__}") from None
        if connection.peer_address not in {address[0] for _, address in endpoints}:
            connection.close()
            raise EgressFailed("connected to an address that was not judged")
        return connection

    def _judge(self, endpoints: Sequence[Endpoint], *, is_named: bool, needs_permission: bool) -> None:
        """Refuse a host when any of its addresses is refused: which one a connection takes is not ours to choose."""
        if not endpoints:
            raise EgressFailed("no address")
        for _, address in endpoints:
            judged = plain_address(address[0])
            permitted = judged is not None and (
                self._allow.permits_address(judged) or (is_named and may_be_allowed_by_name(judged))
            )
            if not permitted and (needs_permission or not is_public(address[0])):
                raise EgressFailed("not allowed to go there")


def parse_public_url(url: str) -> Target:
    """Take a user's URL apart; `InvalidTarget` for every spelling that two parsers could read differently.

    Checks the text only, so it may be called when a URL is saved; addresses are judged when connecting.
    """
    target = parse_target(url)
    host = target.host
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError:
            raise InvalidTarget from None
        return target
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Only the usual four decimal numbers: 127.1, 0x7f.1, 2130706433 and 0177.0.0.1 mean different hosts to
        # different parsers.
        try:
            IPv4Address(host)
        except ValueError:
            raise InvalidTarget from None
        return target
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidTarget
    return target


def _redirected(request: _Request, status: int, location: bytes) -> _Request:
    url = urljoin(request.url, location.decode("latin-1"))
    try:
        before, after = parse_public_url(request.url), parse_public_url(url)
    except InvalidTarget:
        raise EgressFailed("redirected to a URL that cannot be requested") from None
    headers = request.headers
    if before.origin != after.origin:
        headers = [(name, value) for name, value in headers if name.lower() in _SAFE_HEADERS]
    if status == 303 or (status in {301, 302} and request.method == "POST"):
        return _Request("GET", url, headers, b"")
    return _Request(request.method, url, headers, request.body)
