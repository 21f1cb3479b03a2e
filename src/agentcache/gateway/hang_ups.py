"""Noticing that a caller has hung up while its answer is being fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentcache.gateway.asgi_types import Receive


async def unless_gone(
    receive: Receive,
    work: Callable[[], Awaitable[None]],
    *,
    on_gone: Callable[[], None],
    uploaded: asyncio.Event | None = None,
) -> None:
    """Do the work; when the caller hangs up, stop it where it is and call `on_gone`.

    With `uploaded` the work itself reads the request's body and sets the event after its end.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def listen() -> None:
        nonlocal gone
        if uploaded is not None:
            await uploaded.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    listener = asyncio.get_running_loop().create_task(listen())
    try:
        await work()
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        on_gone()
    finally:
        listener.cancel()
