"""What lies beyond this machine's files: our own running server, and the providers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentcache.cli.checks.finding import Finding, ok, skip, warn
from agentcache.kit.egress.own_api import ServerUnreachable, call_own_api
from agentcache.settings import Settings

PART = "providers"


def is_our_server(settings: Settings) -> bool:
    """Say whether an AgentCache server answers on the configured port."""
    try:
        status, answer = call_own_api(replace(settings, public_url=None).origin, "GET", "/healthz")
    except ServerUnreachable:
        return False
    return status == 200 and isinstance(answer, dict)


def check_upstreams(settings: Settings, *, network: bool) -> Iterator[Finding]:
    """Look at each provider's address; connections are made only when asked for."""
    from agentcache.kit.egress.reachability import why_unreachable
    from agentcache.providers.registry import build_dialects

    for name, dialect in build_dialects(settings.upstreams).items():
        if not network:
            yield skip(PART, name, dialect.upstream, "Not tried; agentcache doctor --network connects to it.")
            continue
        reason = why_unreachable(dialect.upstream)
        if reason is None:
            yield ok(PART, name, f"{dialect.upstream} can be connected to")
        else:
            yield warn(
                PART,
                name,
                f"{dialect.upstream}: {reason}",
                f"Check AGENTCACHE_UPSTREAM_{name.upper()} and this machine's way out; not needed if nobody calls it.",
            )
