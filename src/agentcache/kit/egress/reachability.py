"""Says whether a provider can be connected to, for `agentcache doctor`: TCP and TLS only, no request is sent."""

from __future__ import annotations

import asyncio
import ssl

from agentcache.kit.egress.connecting import open_connection, resolve, tls_context
from agentcache.kit.egress.target import parse_target
from agentcache.kit.errors import AgentCacheError


def why_unreachable(url: str, within_seconds: float = 5.0) -> str | None:
    """Return None when a connection (with TLS, for https) came about, otherwise the reason why not."""
    return asyncio.run(_try(url, within_seconds))


async def _try(url: str, within_seconds: float) -> str | None:
    try:
        target = parse_target(url)
        async with asyncio.timeout(within_seconds):
            endpoints = await resolve(target.host, target.port)
            connection = await open_connection(endpoints, tls_context() if target.is_tls else None, target.host)
        connection.close()
    except TimeoutError:
        return f"no connection within {within_seconds:g} s"
    except ssl.SSLError as error:
        return f"TLS failed ({(error.reason or 'unknown').replace('_', ' ').lower()})"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    except AgentCacheError as error:
        return error.message
    return None
