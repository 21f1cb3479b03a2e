"""The meter: one usage event per request, handed on in batches, never on the request's way.

At most `FLUSH_SECONDS` of events are lost when the process is killed, and how many is known afterwards: each event
counts in a small memory-mapped file that outlives the process, and so does each event handed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import struct
from pathlib import Path

from agentcache.gateway.metrics import Metrics
from agentcache.gateway.ports import Outcome, Principal, UsageEvent, UsageSink
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

FLUSH_SECONDS = 0.5
#: Beyond this many waiting events (the database is gone for minutes) the oldest are dropped and counted.
WAITING_MAX = 200_000
BATCH_MAX = 5_000

_log = get_logger(__name__)


class EventCount:
    """Two counters that survive a kill: events recorded and events handed on."""

    _FORM = struct.Struct("=QQ")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, flags, 0o600)
        try:
            os.ftruncate(descriptor, self._FORM.size)
            self._map = mmap.mmap(descriptor, self._FORM.size)
        finally:
            os.close(descriptor)
        self.path = path
        self.recorded, self.kept = self._FORM.unpack_from(self._map)

    def save(self) -> None:
        """Put both counters where the next process finds them."""
        self._FORM.pack_into(self._map, 0, self.recorded, self.kept)

    def close(self) -> None:
        """Release the file; remove it when nothing is missing."""
        self.save()
        self._map.close()
        if self.recorded == self.kept:
            self.path.unlink(missing_ok=True)


def lost_events(run_dir: Path) -> dict[str, int]:
    """Read and remove the counts that dead workers left behind: worker name -> events lost."""
    lost: dict[str, int] = {}
    for path in sorted(run_dir.glob("meter-*.count")):
        if _is_alive(path.stem.removeprefix("meter-")):
            continue
        count = EventCount(path)
        missing = count.recorded - count.kept
        count.kept = count.recorded
        count.close()
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

    def record_call(
        self,
        *,
        principal: Principal,
        request_id: str,
        dialect: str,
        endpoint: str,
        model: str,
        namespace: str,
        agent: str,
        outcome: Outcome,
        status: int,
        latency_us: int,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_usd_nanos: int = 0,
        saved_usd_nanos: int = 0,
        upstream_us: int = 0,
    ) -> None:
        """Record one request. Never raises, never waits."""
        self._waiting.append(
            UsageEvent(
                id=request_id,
                at_ms=int(self._clock.now() * 1000),
                tenant_id=principal.tenant.id,
                api_key_id=principal.api_key_id,
                dialect=dialect,
                endpoint=endpoint,
                model=model,
                namespace=namespace,
                outcome=outcome.value,
                status=status,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cost_usd_nanos=cost_usd_nanos,
                saved_usd_nanos=saved_usd_nanos,
                latency_us=latency_us,
                upstream_us=upstream_us,
                agent=agent,
            )
        )
        if self._count is not None:
            self._count.recorded += 1
            self._count.save()
        self._metrics.count_call(dialect, outcome, latency_us, upstream_us)

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
            self._count.close()

    def _keep_within_bounds(self) -> None:
        excess = len(self._waiting) - WAITING_MAX
        if excess > 0:
            del self._waiting[:excess]
            self.dropped += excess
            self._metrics.count_dropped_events(excess)

    def _counted(self, number: int) -> None:
        if self._count is not None:
            self._count.kept += number
            self._count.save()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._waiting:
                await self.flush()
            self._metrics.publish()


