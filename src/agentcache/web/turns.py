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

from agentcache.gateway.problems import problem
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

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
        self, app: ASGIApp, at_once: int = AT_ONCE, waiting: int = 0, refusal: type[Unavailable] = Overloaded
    ) -> None:
        self._app = app
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
            headers, body = problem(self._refusal(), new_id("req_"))
            await send({"type": "http.response.start", "status": self._refusal.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        finally:
            if has_turn:
                self._turns.release()
            if has_place:
                self._places += 1


def hashes_password(scope: Scope) -> bool:
    """Say whether a request comes to a door at which a password is hashed."""
    path: str = scope["path"]
    if scope["method"] != "POST":
        return False
    if path == "/api/account":
        actions = parse_qs(scope["query_string"].decode("latin-1")).get("action", [""])
        return actions[-1] in _HASHING_ACTIONS
    return path in _HASHING or path.startswith(_HASHING_BELOW)
