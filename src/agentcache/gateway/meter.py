"""The meter: one usage event per request, handed on in batches, never on the request's way.

At most `FLUSH_SECONDS` of events are lost when the process is killed, and how many is known afterwards: each event
counts in a small memory-mapped file that outlives the process, and so does each event handed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
from pathlib import Path

from agentcache.gateway.metrics import Metrics
from agentcache.gateway.ports import UsageEvent, UsageSink
from agentcache.gateway.worker_files import WorkerFile, abandoned_files, has_live_owner
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

FLUSH_SECONDS = 0.5
#: Beyond this many waiting events (the database is gone for minutes) the oldest are dropped and counted.
WAITING_MAX = 200_000
BATCH_MAX = 5_000
_KIND = "meter"

_log = get_logger(__name__)


class EventCount:
    """Two counters that survive a kill: events recorded, and events handed on or dropped knowingly."""

    _SIZE = 2 * 8

    def __init__(self, run_dir: Path) -> None:
        self._file = WorkerFile(run_dir, _KIND)
        os.ftruncate(self._file.descriptor, self._SIZE)
        self._map = mmap.mmap(self._file.descriptor, self._SIZE)
        # Whole machine words, never torn.
        self._numbers = memoryview(self._map).cast("Q")

    def add_recorded(self) -> None:
        """Count one event recorded."""
        self._numbers[0] += 1

    def add_kept(self, number: int) -> None:
        """Count events that need no keeping any more."""
        self._numbers[1] += number

    def close(self) -> None:
        """Release the file; one that misses nothing is deleted, another stays for the next start to report."""
        is_complete = self._numbers[0] == self._numbers[1]
        self._numbers.release()
        self._map.close()
        self._file.close(remove=is_complete)


def lost_events(run_dir: Path) -> dict[str, int]:
    """Return how many events dead workers had recorded and not handed on, by worker; each loss is told once."""
    lost: dict[str, int] = {}
    for path in abandoned_files(run_dir, _KIND):
        numbers = path.read_bytes()
        if len(numbers) == 2 * 8:
            recorded, kept = memoryview(numbers).cast("Q")
            if recorded > kept:
                lost[path.name] = recorded - kept
    return lost


def is_anyone_metering(run_dir: Path) -> bool:
    """Tell whether a process of this installation may still hand usage on."""
    return has_live_owner(run_dir, _KIND)


class Meter:
    """Collects usage events of this worker and hands them to the sink."""

    def __init__(self, sink: UsageSink, metrics: Metrics, clock: Clock, run_dir: Path | None = None) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._waiting: list[UsageEvent] = []
        self._count = EventCount(run_dir) if run_dir is not None else None
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self.dropped = 0

    def start(self) -> None:
        """Begin to hand events on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def record(self, event: UsageEvent) -> None:
        """Record one request. Never raises, never waits."""
        self._waiting.append(event)
        if self._count is not None:
            self._count.add_recorded()
        self._metrics.count_call(event.dialect, event.outcome, event.latency_us, event.upstream_us)

    def count_refused(self, event: UsageEvent) -> None:
        """Count a refused request that another event will stand for."""
        self._metrics.count_call(event.dialect, event.outcome, event.latency_us, 0)

    def keep(self, event: UsageEvent) -> None:
        """Record an event whose requests have been counted. Never raises, never waits."""
        self._waiting.append(event)
        if self._count is not None:
            self._count.add_recorded()

    def count_fill(self, *, stored: bool) -> None:
        """Count an answer from upstream."""
        self._metrics.count("stored" if stored else "not_stored")

    def count_look(self, result: str, look_us: int) -> None:
        """Count a look-up of a near question, by how it ended."""
        self._metrics.count_look(result, look_us)

    def count_semantic(self, what: str) -> None:
        """Count what became of an answer to learn from: `learned` or `dropped`."""
        self._metrics.count(f"semantic_{what}")

    def count_store_error(self) -> None:
        """Count a store operation that failed."""
        self._metrics.count("store_errors")

    async def flush(self) -> None:
        """Hand on everything that is waiting; keep it when the sink refuses."""
        while self._waiting and await self._hand_on(len(self._waiting)):
            pass

    async def _hand_on(self, number: int) -> bool:
        """Hand on so many events, oldest first; False when the sink refuses."""
        async with self._flushing:
            while number > 0 and self._waiting:
                batch = self._waiting[: min(number, BATCH_MAX)]
                try:
                    await self._sink.write(batch)
                except Exception as error:  # noqa: BLE001 - whatever the sink's trouble, serving goes on
                    self._keep_within_bounds()
                    _log.warning("usage_sink_failed", reason=type(error).__name__, pending=len(self._waiting))
                    return False
                del self._waiting[: len(batch)]
                self._counted(len(batch))
                number -= len(batch)
        return True

    async def close(self) -> None:
        """Stop, after a last attempt to hand everything on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()
        if self._count is not None:
            self._count.close()

    def _keep_within_bounds(self) -> None:
        excess = len(self._waiting) - WAITING_MAX
        if excess > 0:
            del self._waiting[:excess]
            self.dropped += excess
            self._metrics.count_dropped_events(excess)
            self._counted(excess)

    def _counted(self, number: int) -> None:
        if self._count is not None:
            self._count.add_kept(number)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # What comes meanwhile waits for the next round: under load, one large batch costs far less than many small.
            await self._hand_on(len(self._waiting))
            self._metrics.publish()
