"""Asking a provider whether it takes a credential: one read that costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from asgiref.sync import async_to_sync

from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError
from agentcache.prewarm.errors import UnknownProvider
from agentcache.prewarm.models import ProbeOutcome
from agentcache.providers.dialect import Dialect
from agentcache.providers.registry import build_dialects, join_upstream
from agentcache.settings import Settings

#: Somebody looks at a page that waits for it.
TIMEOUTS = UpstreamTimeouts(connect=5.0, first_byte=10.0, idle=5.0, total=12.0)
_REFUSALS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider said; `status` is None when there was no answer."""

    outcome: ProbeOutcome
    status: int | None = None


def probe(dialect: Dialect, credential: str) -> Probe:
    """Return what the provider says to a credential, within 12 seconds. Not to be called on an event loop."""
    return async_to_sync(_probe)(dialect, credential)


def dialects_of(settings: Settings) -> Mapping[str, Dialect]:
    """Return the providers of this server by name."""
    return _dialects(tuple(sorted(settings.upstreams.items())))


def find_dialect(settings: Settings, provider: str) -> Dialect:
    """Return a provider of this server. Raises `UnknownProvider`."""
    found = dialects_of(settings).get(provider)
    if found is None:
        raise UnknownProvider(f"This server has no provider {provider[:64]!r}.", param="provider")
    return found


@lru_cache(8)
def _dialects(upstreams: tuple[tuple[str, str], ...]) -> Mapping[str, Dialect]:
    return build_dialects(dict(upstreams))


async def _probe(dialect: Dialect, credential: str) -> Probe:
    name, prefix = dialect.credential_form
    headers = [
        (name.encode(), (prefix + credential).encode("latin-1")),
        (b"accept-encoding", b"identity"),
        *((key.encode(), value.encode()) for key, value in dialect.probe_headers),
    ]
    client = UpstreamClient(max_connections=1)
    try:
        url = join_upstream(dialect.upstream, dialect.probe_path)
        response = await client.send("GET", url, headers, b"", TIMEOUTS)
        status = response.status
        # What it says does not matter, and may be long.
        await response.aclose()
    except AgentCacheError:
        return Probe(ProbeOutcome.UNREACHABLE)
    finally:
        await client.aclose()
    if 200 <= status < 300:
        return Probe(ProbeOutcome.WORKS, status)
    return Probe(ProbeOutcome.REFUSED if status in _REFUSALS else ProbeOutcome.UNCLEAR, status)
