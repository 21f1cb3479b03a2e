"""Programs that stand for processes of the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from agentcache.supervisor.child import Child

#: How such a program begins: with its lifeline at hand.
WITH_LIFELINE: Final = """
import sys, time
from agentcache.supervisor.lifeline import Lifeline
lifeline = Lifeline(int(sys.argv[-1]))
"""


@asynccontextmanager
async def kept_running(child: Child) -> AsyncIterator[asyncio.Task[None]]:
    """Keep a child running while the block runs; the task ends when the child has ended for good."""
    task = asyncio.create_task(child.keep_running())
    try:
        yield task
    finally:
        child.kill()
        await task
