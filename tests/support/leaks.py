"""Counts of what a test may leave behind, and a search for what must never leave."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process holds: file descriptors, threads, asyncio tasks, resident bytes."""

    fds: int
    threads: int
    tasks: int
    rss_bytes: int

    @classmethod
    def now(cls, loop: asyncio.AbstractEventLoop | None = None, pid: int | None = None) -> Resources:
        """Count after a collection of garbage. `loop` adds its tasks, `pid` looks at another process."""
        gc.collect()
        process = psutil.Process(pid)
        tasks = len(asyncio.all_tasks(loop)) if loop is not None else 0
        threads = process.num_threads() if pid is not None else threading.active_count()
        return cls(process.num_fds(), threads, tasks, process.memory_info().rss)

    def growth(self, before: Resources) -> Resources:
        """Return the difference to an earlier count."""
        return Resources(
            self.fds - before.fds,
            self.threads - before.threads,
            self.tasks - before.tasks,
            self.rss_bytes - before.rss_bytes,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret found where it must not be: which one, in what, and the bytes around it."""

    canary: str
    place: str
    context: str


def scan_text(text: str | bytes, canaries: Iterable[str], place: str = "text") -> Iterator[Finding]:
    """Yield one finding per canary that occurs in `text`, as it is or as UTF-16."""
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    for canary in canaries:
        assert canary, "an empty canary is found everywhere"
        for form in (canary.encode(), canary.encode("utf-16-le")):
            at = raw.find(form)
            if at >= 0:
                yield Finding(canary, place, raw[max(at - 40, 0) : at + 80].decode(errors="replace"))
                break


def scan_folder(folder: Path, canaries: Iterable[str]) -> Iterator[Finding]:
    """Yield findings in every file below `folder` (databases, logs, write-ahead logs), names included."""
    canaries = tuple(canaries)
    for path in sorted(folder.rglob("*")):
        yield from scan_text(str(path.relative_to(folder)), canaries, f"name of {path.name}")
        if path.is_file():
            yield from scan_text(path.read_bytes(), canaries, str(path.relative_to(folder)))


def foreign_canaries(text: str | bytes, own: str, tenants: Mapping[str, str] | Iterable[str]) -> list[str]:
    """Return the tenants other than `own` whose `canary:<tenant>` mark occurs in `text`."""
    raw = text.encode() if isinstance(text, str) else text
    return [tenant for tenant in tenants if tenant != own and _has_mark(raw, f"canary:{tenant}".encode())]


def _has_mark(raw: bytes, mark: bytes) -> bool:
    at = raw.find(mark)
    while at >= 0:
        following = raw[at + len(mark) : at + len(mark) + 1]
        # `canary:ten` is not the mark of tenant `tenant-2`.
        if not (following.isalnum() or following == b"_"):
            return True
        at = raw.find(mark, at + 1)
    return False
