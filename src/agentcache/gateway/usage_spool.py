"""Usage on its way to the database: a folder of finished files, each one batch of events.

Serving processes add files and never wait for a database; the job worker of the same machine reads, keeps and deletes
them. A file appears by a rename, so whoever sees it sees all of it, and what was handed on survives a kill, a restart
and a database that is away for hours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentcache.gateway.ports import UsageEvent
from agentcache.kit.clock import Clock
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id

#: Beyond this many waiting files (at one per half second and process, the database is gone for hours) no more are taken.
FILES_MAX = 100_000
_SUFFIX = ".usage"
_UNFINISHED_SUFFIX = ".unfinished"
#: The number of waiting files is looked at this rarely, in batches written.
_COUNT_EVERY = 100
_INT_MAX = 2**63 - 1

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[UsageEvent])


def spool_dir(data_dir: Path) -> Path:
    """Return the folder of a server's usage files. It belongs to the data, not to the run: it must survive a restart."""
    return data_dir / "usage"


class UsageSpool:
    """Implements `gateway.ports.UsageSink` on a folder."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._clock = clock
        self._until_count = 0

    async def write(self, events: list[UsageEvent]) -> None:
        """Keep the events in one file, on the disk when this returns. Raises `Unavailable` when there is no room."""
        if events:
            try:
                await asyncio.to_thread(self._write, events)
            except OSError as error:
                raise Unavailable(f"Usage cannot be written: {error.strerror}.") from error

    def _write(self, events: list[UsageEvent]) -> None:
        if self._until_count <= 0:
            if sum(1 for _ in os.scandir(self._folder)) >= FILES_MAX:
                raise Unavailable("Too much usage waits for the job worker.")
            self._until_count = _COUNT_EVERY
        self._until_count -= 1
        # Named by time, so that sorted names are the order in which the events came.
        name = f"{int(self._clock.now() * 1000):015d}-{new_id()}"
        unfinished = self._folder / (name + _UNFINISHED_SUFFIX)
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(_encoded(events))
                os.fsync(descriptor)
            unfinished.rename(self._folder / (name + _SUFFIX))
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def _encoded(events: list[UsageEvent]) -> bytes:
    try:
        return _encoder.encode(events)
    except (OverflowError, UnicodeEncodeError):
        # Names come from callers and counts from providers; none may cost the others of its batch.
        return _encoder.encode([_encodable(event) for event in events])


def _encodable(event: UsageEvent) -> UsageEvent:
    members: dict[str, str | int] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, int):
            members[name] = max(-_INT_MAX, min(_INT_MAX, value))
        else:
            members[name] = value.encode("utf-8", "replace").decode()
    return UsageEvent(**members)  # type: ignore[arg-type]  # each member keeps its kind


def waiting_files(folder: Path) -> list[Path]:
    """Return the finished files, oldest first."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX))
    return []


def unfinished_files(folder: Path) -> Iterator[Path]:
    """Yield files that are being written, or were when their process was killed."""
    yield from folder.glob(f"*{_UNFINISHED_SUFFIX}")


def read_events(path: Path) -> list[UsageEvent]:
    """Return a file's events. Raises `msgspec.DecodeError` when it is not one of ours."""
    return _decoder.decode(path.read_bytes())
