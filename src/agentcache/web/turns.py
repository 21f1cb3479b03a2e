"""How many requests the pages and the account API work on at once.

Each takes a thread while it runs. Beyond the bound the next is asked to come back, before it costs one: a flood takes
neither the memory nor the processor from the data plane, which shares the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agentcache.gateway.problems import problem
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: More than wait for a password's hash, so that these do not keep everybody else out.
AT_ONCE = 64


class Overloaded(Unavailable):
    """Too many requests are under way at this moment; try again shortly."""

    code = "overloaded"


class _NoTurn(Exception):
    pass


class Turns:
    """An application of which only so many calls run at once; the others are answered 503."""

    def __init__(self, app: ASGIApp, at_once: int = AT_ONCE) -> None:
        self._app = app
        self._free = at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        has_turn = False

        async def receive_and_begin() -> Message:
            nonlocal has_turn
            message = await receive()
            # Counted from the end of the body on: whoever sends slowly keeps nobody out.
            if message["type"] == "http.request" and not message.get("more_body", False) and not has_turn:
                if self._free <= 0:
                    raise _NoTurn
                self._free -= 1
                has_turn = True
            return message

        try:
            await self._app(scope, receive_and_begin, send)
        except _NoTurn:
            headers, body = problem(Overloaded(), new_id("req_"))
            await send({"type": "http.response.start", "status": Overloaded.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        finally:
            if has_turn:
                self._free += 1
