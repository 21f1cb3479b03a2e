"""The ASGI shapes that the gateway uses, and the two things it does with a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from agentcache.kit.errors import AgentCacheError, PayloadTooLarge

ASGIScope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[ASGIScope, Receive, Send], Awaitable[None]]
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
    # One buffer: a list of the pieces of a body that comes in single bytes would be many times its size.
    gathered = bytearray(body)
    while message.get("more_body", False):
        if len(gathered) > limit:
            raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        gathered += message.get("body", b"")
    if len(gathered) > limit:
        raise PayloadTooLarge(f"The request body exceeds {limit} bytes.")
    return bytes(gathered)


async def send_whole(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """Send a complete response; `headers` must not hold `content-length`."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
