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
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

FLUSH_SECONDS = 0.5
#: Beyond this many waiting events (the database is gone for minutes) the oldest are dropped and counted.
WAITING_MAX = 200_000
BATCH_MAX = 5_000

_log = get_logger(__name__)


class EventCount:
    """Two counters that survive a kill: events recorded and events handed on."""

    _RECORDED, _KEPT = range(2)
    _SIZE = 2 * 8

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, self._SIZE)
            self._map = mmap.mmap(descriptor, self._SIZE)
        finally:
            os.close(descriptor)
        self.path = path
        # Whole machine words, never torn.
        self._numbers = memoryview(self._map).cast("Q")

    def add_recorded(self) -> None:
        """Count one event recorded."""
        self._numbers[0] += 1

    def add_kept(self, number: int) -> None:
        """Count events that were handed on, or dropped on purpose and counted elsewhere."""
        self._numbers[1] += number

    @property
    def missing(self) -> int:
        """How many recorded events were never handed on."""
        return self._numbers[self._RECORDED] - self._numbers[self._KEPT]

    def close(self, *, remove: bool) -> None:
        """Release the file, and delete it where nobody needs it any more."""
        self._numbers.release()
        self._map.close()
        if remove:
            self.path.unlink(missing_ok=True)


def lost_events(run_dir: Path) -> dict[str, int]:
    """Read and remove the counts that dead workers left behind: worker name -> events lost."""
    lost: dict[str, int] = {}
    for path in sorted(run_dir.glob("meter-*.count")):
        if _is_alive(path.stem.removeprefix("meter-")):
            continue
        count = EventCount(path)
        missing = count.missing
        count.close(remove=True)
        if missing > 0:
            lost[path.stem] = missing
    return lost


def _is_alive(worker: str) -> bool:
    try:
        os.kill(int(worker), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


class Meter:
    """Collects usage events of this worker and hands them to the sink."""

    def __init__(self, sink: UsageSink, metrics: Metrics, clock: Clock, run_dir: Path | None = None) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._waiting: list[UsageEvent] = []
        self._count = EventCount(run_dir / f"meter-{os.getpid()}.count") if run_dir is not None else None
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

    def count_fill(self, *, stored: bool) -> None:
        """Count an answer from upstream."""
        self._metrics.count("stored" if stored else "not_stored")

    def count_store_error(self) -> None:
        """Count a store operation that failed."""
        self._metrics.count("store_errors")

    async def flush(self) -> None:
        """Hand on what is waiting; keep it when the sink refuses."""
        async with self._flushing:
            while self._waiting:
                batch = self._waiting[:BATCH_MAX]
                try:
                    await self._sink.write(batch)
                except Exception as error:  # noqa: BLE001 - whatever the sink's trouble, serving goes on
                    self._keep_within_bounds()
                    _log.warning("usage_sink_failed", reason=type(error).__name__, waiting=len(self._waiting))
                    return
                del self._waiting[: len(batch)]
                self._counted(len(batch))

    async def close(self) -> None:
        """Stop, after a last attempt to hand everything on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()
        if self._count is not None:
            # What could not be handed on stays counted, for the next start to report.
            self._count.close(remove=self._count.missing == 0)

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
            if self._waiting:
                await self.flush()
            self._metrics.publish()
