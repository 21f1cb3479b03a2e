"""From the usage files of this machine's serving processes into the database."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from django.db import DataError, IntegrityError

from agentcache.analytics import services
from agentcache.gateway.meter import is_anyone_metering, lost_events
from agentcache.gateway.ports import UsageEvent
from agentcache.gateway.usage_spool import read_events, unfinished_files, waiting_files
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.errors import Unavailable
from agentcache.kit.logs import get_logger

_log = get_logger(__name__)

POLL_SECONDS = 0.5
#: After a database failure the next try waits this long.
PAUSE_SECONDS = 5.0
#: When told to stop, what is waiting is still taken for so long; the rest is there for the next start.
LAST_SECONDS = 2.0
LEAVING_POLL_SECONDS = 0.05
#: Events of one transaction, about; a file is never divided. Few, so that pages that write wait for a moment only.
EVENTS_PER_TRANSACTION = 500
_WRITE_WITHIN_SECONDS = 60.0
#: A file that has been unfinished for so long was cut off by a kill; the meter's counts say how many events that cost.
_UNFINISHED_SECONDS = 3600.0


class UsageIngest:
    """Moves usage files into the database, each event exactly once by its id."""

    def __init__(self, folder: Path, run_dir: Path, threads: DatabaseThreads) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._run_dir = run_dir
        self._threads = threads

    async def run(self, stop: asyncio.Event, outlive_seconds: float = 0.0) -> None:
        """Work until `stop` is set; then take what there is time for.

        `outlive_seconds`: how long to wait for serving processes that end at the same time, for what they hand on last.
        """
        while not stop.is_set():
            await _wait(stop, POLL_SECONDS if await self._try(stop.is_set) else PAUSE_SECONDS)
        deadline = time.monotonic() + outlive_seconds
        while time.monotonic() < deadline and is_anyone_metering(self._run_dir):  # noqa: ASYNC110 - no event tells of other processes
            await asyncio.sleep(LEAVING_POLL_SECONDS)
        deadline = time.monotonic() + LAST_SECONDS
        await self._try(lambda: time.monotonic() > deadline)

    async def _try(self, is_enough: Callable[[], bool]) -> bool:
        try:
            await self.take_all(is_enough)
            await self.note_losses()
        except Unavailable as error:
            _log.warning("usage_ingest_waits", reason=error.message)
        except OSError as error:
            _log.warning("usage_ingest_waits", reason=type(error).__name__)
        else:
            return True
        return False

    async def note_losses(self) -> None:
        """Write down how many events died with killed processes. Raises `Unavailable`."""
        for worker, lost in lost_events(self._run_dir).items():
            _log.warning("usage_events_lost", worker=worker, lost=lost)
            await self._threads.run(partial(services.record_gap, worker, lost))

    async def take_all(self, is_enough: Callable[[], bool] = lambda: False) -> int:
        """Take every file that is there now; return the number of events. Raises `Unavailable`.

        Does nothing while another process of this machine is at it.
        """
        taken = 0
        with _alone(self._folder) as is_alone:
            if is_alone:
                self._drop_cut_off()
                for paths, events in self._batches(waiting_files(self._folder)):
                    if is_enough():
                        break
                    await self._keep(paths, events)
                    taken += len(events)
        return taken

    def _batches(self, paths: list[Path]) -> Iterator[tuple[list[Path], list[UsageEvent]]]:
        batch: list[Path] = []
        events: list[UsageEvent] = []
        for path in paths:
            try:
                events += read_events(path)
            except msgspec.DecodeError:
                self._put_aside(path)
                continue
            batch.append(path)
            if len(events) >= EVENTS_PER_TRANSACTION:
                yield batch, events
                batch, events = [], []
        if batch:
            yield batch, events

    async def _keep(self, paths: list[Path], events: list[UsageEvent]) -> None:
        try:
            await self._record(events)
        except (IntegrityError, DataError):
            # One event that the database will not have must not hold up the others.
            await self._keep_one_by_one(events)
        for path in paths:
            path.unlink(missing_ok=True)

    async def _keep_one_by_one(self, events: list[UsageEvent]) -> None:
        refused = 0
        for event in events:
            try:
                await self._record([event])
            except (IntegrityError, DataError) as error:
                refused += 1
                _log.warning("usage_event_refused", request_id=event.id, reason=type(error).__name__)
        if refused:
            await self._threads.run(partial(services.record_gap, "refused", refused))

    async def _record(self, events: list[UsageEvent]) -> None:
        await self._threads.run(partial(services.record_events, events), within_seconds=_WRITE_WITHIN_SECONDS)

    def _put_aside(self, path: Path) -> None:
        _log.error("usage_file_unreadable", path=path.name)
        path.rename(path.with_suffix(".unreadable"))

    def _drop_cut_off(self) -> None:
        for path in unfinished_files(self._folder):
            try:
                if time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
