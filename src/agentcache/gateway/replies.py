"""What the gateway says about an answer: `Cache-Status` (RFC 9211), `Age`, and the headers of our own."""

from __future__ import annotations

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.engine.freshness import age_seconds, freshness
from agentcache.gateway.asgi_types import HeaderList
from agentcache.kit.money import usd

#: Upstream response headers that never reach a caller: hop-by-hop, framing (ours is made anew), cookies, and what an
#: origin says of itself, for ours is another.
_NOT_RELAYED = frozenset(
    b"""connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding
    upgrade content-length set-cookie set-cookie2 alt-svc strict-transport-security server date cache-status age
    via clear-site-data nel report-to reporting-endpoints expect-ct accept-ch service-worker-allowed""".split()
)
_NOT_RELAYED_PREFIXES = (b"x-agentcache-", b"access-control-")
#: Upstream response headers kept with an entry. Everything else speaks of one caller's account or one exchange.
_STORED = frozenset({b"openai-version", b"openai-model", b"content-language", b"content-disposition"})

NAME = b"AgentCache"


def hit_headers(key: bytes, meta: EntryMeta, now: float, request_id: str = "", *, detail: str = "") -> HeaderList:
    """Return the headers of an answer from the cache, all but its length."""
    hex_key = key.hex()
    age = age_seconds(meta, now)
    status = f'AgentCache; hit; ttl={int(meta.lifetime_seconds - age)}; key="{hex_key}"'
    if detail:
        status += f"; detail={detail}"
    headers: HeaderList = [
        (b"content-type", meta.content_type.encode("latin-1")),
        (b"cache-status", status.encode()),
        (b"age", b"%d" % age),
        (b"x-agentcache-freshness", freshness(meta, now).value.encode()),
        (b"x-agentcache-key", hex_key.encode()),
        (b"x-agentcache-saved-usd", usd(meta.cost_usd_nanos).encode()),
        (b"x-agentcache-saved-ms", b"%d" % meta.upstream_ms),
    ]
    if request_id:
        headers.append((b"x-agentcache-request-id", request_id.encode()))
    if meta.headers:
        headers += [(name.encode(), value.encode("latin-1")) for name, value in meta.headers]
    return headers


def form_header(*, wants_stream: bool) -> tuple[bytes, bytes]:
    """Return the content type of an answer that was stored in the other form; it stands first among a hit's headers."""
    return b"content-type", b"text/event-stream; charset=utf-8" if wants_stream else b"application/json"


class HitHeaders:
    """The headers of hits, made once a second for each entry instead of once a request: ages are whole seconds."""

    def __init__(self, remembered_max: int = 4096) -> None:
        self._remembered: dict[bytes, tuple[Entry, int, HeaderList]] = {}
        self._remembered_max = remembered_max

    def of(self, entry: Entry, now: float) -> HeaderList:
        """Return the headers of a hit that nothing sets apart; the list must not be changed."""
        second = int(now)
        known = self._remembered.get(entry.key)
        if known is not None and known[0] is entry and known[1] == second:
            return known[2]
        headers = hit_headers(entry.key, entry.meta, now)
        if len(self._remembered) >= self._remembered_max:
            self._remembered.clear()
        self._remembered[entry.key] = (entry, second, headers)
        return headers


def forward_status(
    reason: str,
    *,
    upstream_status: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    ttl: int | None = None,
    key: bytes | None = None,
    detail: str = "",
) -> bytes:
    """Return the `Cache-Status` of an answer that came from upstream; `detail` is a token of ours."""
    parts = [f"AgentCache; fwd={reason}"]
    if upstream_status is not None:
        parts.append(f"fwd-status={upstream_status}")
    if stored:
        parts.append("stored")
    if collapsed:
        parts.append("collapsed")
    if ttl is not None and stored:
        parts.append(f"ttl={ttl}")
    if key is not None:
        parts.append(f'key="{key.hex()}"')
    if detail:
        parts.append(f"detail={detail}")
    return "; ".join(parts).encode()


def relayed_headers(upstream: list[tuple[bytes, bytes]]) -> HeaderList:
    """Return what of an upstream's response headers the caller whose call it was may see."""
    lowered = [(name.lower(), value) for name, value in upstream]
    nominated = {
        option.strip() for name, value in lowered if name == b"connection" for option in value.lower().split(b",")
    }
    return [
        (name, value)
        for name, value in lowered
        if name not in _NOT_RELAYED and name not in nominated and not name.startswith(_NOT_RELAYED_PREFIXES)
    ]


def shared_headers(upstream: list[tuple[bytes, bytes]]) -> HeaderList:
    """Return what of an upstream's response headers other callers may see: no rate limits, no request ids."""
    return [
        (name.lower(), value)
        for name, value in upstream
        if name.lower() in _STORED or name.lower() == b"content-type" or name.lower() == b"retry-after"
    ]


def stored_headers(upstream: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return the upstream response headers that an entry keeps."""
    return tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in upstream if name.lower() in _STORED
    )
