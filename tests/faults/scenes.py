"""What the fault scenarios share: requests as bytes and as SDK calls, raw connections, and counts."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

CHAT_PATH = "/openai/v1/chat/completions"
MESSAGES_PATH = "/anthropic/v1/messages"


def chat(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **members}


def message(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "max_tokens": 200, **chat(prompt) | {"model": "claude-haiku-4-5"}, **members}


def headers(gateway: Any, team: str = "acme", *, script: dict[str, Any] | None = None, **more: str) -> dict[str, str]:
    """Return a caller's headers; underscores in further names become hyphens."""
    given = {
        "X-AgentCache-Key": gateway.key(team),
        "Authorization": f"Bearer sk-canary-{team}",
        "x-api-key": f"sk-canary-{team}",
        "anthropic-version": "2023-06-01",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    if script is not None:
        given["X-Fake-Script"] = json.dumps(script)
    return given


def client(gateway: Any, *, connections: int = 250, timeout: float = 60.0) -> httpx.AsyncClient:
    # Idle ones are left before the server's 5 seconds are over: it may end one while a request is on its way there.
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=2.0)
    return httpx.AsyncClient(base_url=gateway.url, limits=limits, timeout=timeout)


def openai_sdk(gateway: Any, http: httpx2.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.url}/openai/v1", api_key="sk-canary-acme", http_client=http, max_retries=0)


def anthropic_sdk(gateway: Any, http: httpx2.AsyncClient) -> AsyncAnthropic:
    return AsyncAnthropic(
        base_url=f"{gateway.url}/anthropic", api_key="sk-canary-acme", http_client=http, max_retries=0
    )


def status_of(response: httpx.Response) -> str:
    """Return the one word of `Cache-Status`: hit, collapsed, or the reason of forwarding."""
    text = response.headers["cache-status"]
    if "; hit" in text:
        return "hit"
    return "collapsed" if "; collapsed" in text else text.split("fwd=", 1)[1].split(";", 1)[0]


def entries(gateway: Any, team: str = "acme") -> int:
    """Count a team's entries in the store of a light gateway."""
    return int(gateway.run(gateway.parts.entries.stats(gateway.tenant(team))).entries)


def upstream_in_use(gateway: Any) -> int:
    """Count the connections to providers that a light gateway is using now."""
    return int(gateway.parts.upstream.connections[0])
