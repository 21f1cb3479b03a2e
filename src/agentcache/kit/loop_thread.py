"""An event loop on a thread of its own, for callers that wait in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_CLOSE_WITHIN_SECONDS = 5.0


class LoopThread:
    """Runs coroutines on a loop of its own. For several threads."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], Awaitable[T]], *, within_seconds: float) -> T:
        """Return what `work()` returns. Raises `TimeoutError`."""

        async def within() -> T:
            async with asyncio.timeout(within_seconds):
                return await work()

        future = asyncio.run_coroutine_threadsafe(within(), self._loop)
        try:
            return future.result(within_seconds + 1)
        except TimeoutError:
            future.cancel()
            raise

    def close(self) -> None:
        """End loop and thread; what still runs there is left."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_WITHIN_SECONDS)
        if not self._loop.is_running():
            self._loop.close()
