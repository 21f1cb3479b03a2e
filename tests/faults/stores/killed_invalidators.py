"""A program that invalidates in Redis and is dead as soon as that is acknowledged, before the rows are gone.

python killed_invalidators.py URL TAG soft|hard SECONDS     prints a line when it is acknowledged, and kills itself so much later
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from agentcache.engine.entries import Selector
from tests.faults.stores.redis_stores import TENANT, open_redis


async def invalidate_and_die(url: str, tag: str, kind: str, seconds: float) -> None:
    store = open_redis(url, socket_seconds=30, connect_seconds=30)
    reach = await store.withdraw(TENANT, Selector(tags=(tag,)), soft=kind == "soft")
    os.write(1, f"{reach.entries}\n".encode())
    await asyncio.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(invalidate_and_die(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
