"""How many requests the pages and the account API work on at once.

Each takes a thread while it runs. Beyond the bound the next is asked to come back, before it costs one: a flood takes
neither the memory nor the processor from the data plane, which shares the process. Doors at which passwords are hashed
have turns of their own: a few run, a short queue waits without a thread, and the rest is refused for next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.problems import problem
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Gives headers and body of the page for an error.
BusyPages = Callable[[type[Unavailable]], tuple[HeaderList, bytes]]

AT_ONCE = 64
#: Where a password is hashed for whoever asks, signed in or not.
_HASHING = frozenset({
    "/login", "/reset", "/verify", "/reauthenticate", "/api/account/login", "/api/account/verify",
    "/api/account/reset-password", "/api/account/reauthenticate",
})  # fmt: skip
_HASHING_BELOW = "/invite/"
_HASHING_ACTIONS = frozenset({"login", "verify", "reset-password"})


class Overloaded(Unavailable):
    """Too many requests are under way at this moment; try again shortly."""

    code = "overloaded"


class _NoTurn(Exception):
    pass


class Turns:
    """An application of which only so many calls run at once and so many wait; the others are refused."""

    def __init__(
        self,
        app: ASGIApp,
        at_once: int = AT_ONCE,
        waiting: int = 0,
        refusal: type[Unavailable] = Overloaded,
        pages: BusyPages | None = None,
    ) -> None:
        self._app = app
        self._pages = pages
        self._turns = asyncio.Semaphore(at_once)
        self._places = at_once + waiting
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        has_place = has_turn = False

        async def receive_and_begin() -> Message:
            nonlocal has_place, has_turn
            message = await receive()
            # Counted from the end of the body on: whoever sends slowly keeps nobody out.
            if message["type"] == "http.request" and not message.get("more_body", False) and not has_place:
                if self._places <= 0:
                    raise _NoTurn
                self._places -= 1
                has_place = True
                has_turn = await self._turns.acquire()
            return message

        try:
            await self._app(scope, receive_and_begin, send)
        except _NoTurn:
            headers, body = self._refused(scope)
            await send({"type": "http.response.start", "status": self._refusal.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        finally:
            if has_turn:
                self._turns.release()
            if has_place:
                self._places += 1

    def _refused(self, scope: Scope) -> tuple[HeaderList, bytes]:
        request_id = new_id("req_")
        if self._pages is None or not _wants_page(scope):
            return problem(self._refusal(), request_id)
        headers, body = self._pages(self._refusal)
        return [*headers, (b"x-agentcache-request-id", request_id.encode())], body


def _wants_page(scope: Scope) -> bool:
    accepted = (value for name, value in scope["headers"] if name == b"accept")
    return not scope["path"].startswith("/api/") and any(b"text/html" in value for value in accepted)


def hashes_password(scope: Scope) -> bool:
    """Say whether a request comes to a door at which a password is hashed."""
    path: str = scope["path"]
    if scope["method"] != "POST":
        return False
    if path == "/api/account":
        actions = parse_qs(scope["query_string"].decode("latin-1")).get("action", [""])
        return actions[-1] in _HASHING_ACTIONS
    return path in _HASHING or path.startswith(_HASHING_BELOW)
