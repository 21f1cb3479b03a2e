"""Sharing look-ups of the same key, for stores that answer over a network.

A caller may only share a look-up that begins after it asked: the answer to one already under way could be from before
an invalidation that the caller knows of. So whoever comes while one is under way waits for the next, together with all
others that come meanwhile, and a burst of any size costs two look-ups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from agentcache.engine.entries import Lookup, Tenant

_Name: TypeAlias = tuple[str, bytes]


class CoalescedReads:
    """Calls `read(tenant, key)` for its callers."""

    def __init__(self, read: Callable[[Tenant, bytes], Coroutine[Any, Any, Lookup]]) -> None:
        self._read = read
        #: Done when the look-up under way has ended, however it did.
        self._running: dict[_Name, asyncio.Future[None]] = {}
        self._next: dict[_Name, asyncio.Task[Lookup]] = {}

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up, in a look-up that begins now or later."""
        name = (tenant.id, key)
        running = self._running.get(name)
        if running is None:
            return await self._get_now(name, tenant, key)
        following = self._next.get(name)
        if following is None:
            following = asyncio.get_running_loop().create_task(self._get_after(running, name, tenant, key))
            following.add_done_callback(_retrieve)
            self._next[name] = following
        return await asyncio.shield(following)

    async def _get_now(self, name: _Name, tenant: Tenant, key: bytes) -> Lookup:
        running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[name] = running
        try:
            return await self._read(tenant, key)
        finally:
            if self._running.get(name) is running:
                del self._running[name]
            running.set_result(None)

    async def _get_after(self, running: asyncio.Future[None], name: _Name, tenant: Tenant, key: bytes) -> Lookup:
        await asyncio.wait({running})
        # From here on newcomers would be too late.
        del self._next[name]
        return await self._get_now(name, tenant, key)


def _retrieve(task: asyncio.Task[Lookup]) -> None:
    """Take note of a failure that every caller has stopped waiting for."""
    if not task.cancelled():
        task.exception()
