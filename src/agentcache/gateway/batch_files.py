"""Rows on their way to the database: a folder of finished files, each one batch, from which the job worker takes them.

For what may be lost while the disk is in trouble; usage, which may not, has `usage_spool`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import msgspec

from agentcache.kit.clock import Clock
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger

FLUSH_SECONDS: Final = 1.0
#: So many rows wait to be written; beyond that the oldest are dropped.
WAITING_MAX: Final = 2_000
FILES_MAX: Final = 10_000
Row = TypeVar("Row", bound=msgspec.Struct)
#: A file that was not finished for so long belongs to a process that was killed.
ABANDONED_SECONDS: Final = 600.0
_UNFINISHED_SUFFIX: Final = ".unfinished"
_log = get_logger(__name__)


class BatchFiles(Generic[Row]):
    """Takes rows at once, and writes them into a file every second; a file appears by a rename, so it is whole."""

    def __init__(
        self,
        folder: Path,
        suffix: str,
        clock: Clock,
        *,
        waiting_max: int = WAITING_MAX,
        files_max: int = FILES_MAX,
    ) -> None:
        self._folder = folder
        self._suffix = suffix
        self._clock = clock
        self._waiting_max = waiting_max
        self._files_max = files_max
        self._waiting: list[Row] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Begin to write files, and sweep what a killed process left half-written."""
        self._sweep()
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    def add(self, row: Row) -> None:
        """Take a row. Never raises, never waits."""
        self._waiting.append(row)
        if len(self._waiting) > self._waiting_max:
            del self._waiting[0]

    async def flush(self) -> None:
        """Write what waits into a file."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, batch)
            except OSError as error:
                _log.warning("batch_not_kept", folder=self._folder.name, reason=error.strerror, rows=len(batch))

    async def close(self) -> None:
        """Stop, after writing what waits."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    def _sweep(self) -> None:
        """Delete halves that nobody will finish: what is written now is younger, whatever the machine is busy with."""
        before = self._clock.now() - ABANDONED_SECONDS
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if entry.name.endswith(_UNFINISHED_SUFFIX) and entry.stat().st_mtime < before:
                    Path(entry.path).unlink()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    def _write(self, batch: list[Row]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(1 for _ in os.scandir(self._folder)) >= self._files_max:
            raise OSError(0, "too many wait for the job worker")
        name = f"{int(self._clock.now() * 1000):015d}-{new_id()}"
        unfinished = self._folder / f"{name}{_UNFINISHED_SUFFIX}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(batch))
        unfinished.rename(self._folder / (name + self._suffix))


def waiting_files(folder: Path, suffix: str) -> list[Path]:
    """Return the finished files of a folder, oldest first."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(suffix))
    return []
