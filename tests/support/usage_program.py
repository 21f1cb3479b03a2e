"""Writes usage in a process of its own, to be killed: brings events into the roll-ups, or records batches.

python -m tests.support.usage_program fill NOW          sums up every hour that lacks events
python -m tests.support.usage_program record SHUFFLE    records the events on stdin in batches, in an order of its own
"""

from __future__ import annotations

import asyncio
import random
import sys

import msgspec

from agentcache.settings import Settings
from agentcache.web.project import configure


def fill(now: float) -> None:
    """Do what the job does; says when it begins."""
    from agentcache.analytics.jobs import fill_rollups
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.kit.clock import ManualClock

    threads = DatabaseThreads(answer_within_seconds=60)
    print("begin", flush=True)
    hours = asyncio.run(fill_rollups(threads, ManualClock(now)))
    threads.close()
    print(f"hours {hours}", flush=True)


def record(seed: int) -> None:
    """Record the events in batches of a few; says when it begins."""
    from agentcache.analytics import services
    from agentcache.gateway import ports

    events = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[ports.UsageEvent])
    random.Random(seed).shuffle(events)
    print("begin", flush=True)
    for first in range(0, len(events), 40):
        services.record_events(events[first : first + 40])
    print("end", flush=True)


if __name__ == "__main__":
    configure(Settings.load())
    if sys.argv[1] == "fill":
        fill(float(sys.argv[2]))
    else:
        record(int(sys.argv[2]))
