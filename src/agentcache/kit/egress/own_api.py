"""Calls the API of an AgentCache server that runs somewhere, for the command line: one JSON call at a time, blocking."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import agentcache
from agentcache.kit.errors import AgentCacheError, BadRequest

#: A server that is up answers its own API in milliseconds; listings of many entries take longest.
WITHIN_SECONDS = 30.0
#: How the command line calls itself; a server then knows that a call is a command's.
COMMAND_AGENT = "agentcache-command/"


class ServerUnreachable(AgentCacheError):
    """No AgentCache server answers there."""

    code = "server_unreachable"
    status = 502


class Refusal(AgentCacheError):
    """The server refused the call."""

    code = "refused"


def call_own_api(
    base_url: str, method: str, path: str, *, api_key: str | None = None, document: Any = None
) -> tuple[int, Any]:
    """Send one JSON call and return status and decoded answer (None when there is no JSON in it).

    Raises `ServerUnreachable` when there is no HTTP server at `base_url`. Follows no redirects, uses no proxy.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadRequest(f"{base_url!r} is no URL of a server. Write it as http://127.0.0.1:8787", param="url")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=WITHIN_SECONDS)
    headers = {"Accept": "application/json", "User-Agent": COMMAND_AGENT + agentcache.__version__}
    if api_key is not None:
        headers["X-AgentCache-Key"] = api_key
    body = None
    if document is not None:
        body = json.dumps(document).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        return response.status, _decoded(response.read())
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ServerUnreachable(
            f"No AgentCache server answers at {base_url} ({reason}). Start it (make serve), or name another with --url."
        ) from None
    finally:
        connection.close()


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
