"""The ASGI shapes that the gateway uses, and the two things it does with a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from agentcache.kit.errors import AgentCacheError, PayloadTooLarge

ASGIScope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
HeaderList: TypeAlias = list[tuple[bytes, bytes]]


class ClientGone(AgentCacheError):
    """The caller hung up."""

    code = "client_gone"
    status = 499


async def read_body(asgi_scope: ASGIScope, receive: Receive, limit: int) -> bytes:
    """Return the whole request body; raise `PayloadTooLarge` as soon as it exceeds `limit` bytes."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
        return body
    for name, value in asgi_scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        if size > limit:
            raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
    return b"".join(parts)


async def send_whole(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """Send a complete response; `headers` must not hold `content-length`."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
