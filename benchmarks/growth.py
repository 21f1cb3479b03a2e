"""What long runs leave behind: resident memory and open files of a process and all below it, and how fast they grow."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import defaultdict
from typing import NamedTuple, Self

import psutil


class Grown(NamedTuple):
    """One process over a run: MiB of memory and open files at its first and last sample, and MiB gained in ten minutes."""

    name: str
    minutes: float
    memory: tuple[float, float]
    files: tuple[int, int]
    slope: float


class Growth:
    """Samples a family of processes every `every` seconds until it is stopped; use as a context manager."""

    def __init__(self, root: int, *, every: float = 15.0) -> None:
        self._root, self._every = psutil.Process(root), every
        #: By process: seconds since the start, bytes, open files.
        self._samples: dict[tuple[int, str], list[tuple[float, int, int]]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="growth", daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

    def grown(self) -> list[Grown]:
        """Return what became of each process that was seen often enough.

        The first third of its life does not count for the slope: caches and allocators fill.
        """
        found = []
        for (_, name), samples in self._samples.items():
            (first, *_), (last, *_) = samples[0], samples[-1]
            late = [(at, size) for at, size, _ in samples if at > first + (last - first) / 3]
            if len(late) < 5:
                continue
            slope = statistics.linear_regression(*zip(*late, strict=True)).slope
            found.append(
                Grown(
                    name,
                    (last - first) / 60,
                    (samples[0][1] / 2**20, samples[-1][1] / 2**20),
                    (samples[0][2], samples[-1][2]),
                    slope * 600 / 2**20,
                )
            )
        return found

    def _run(self) -> None:
        while True:
            self._sample()
            if self._over.wait(self._every):
                return

    def _sample(self) -> None:
        at = time.monotonic() - self._began
        for one in [self._root, *self._root.children(recursive=True)]:
            # Ended between being listed and being looked at.
            with contextlib.suppress(psutil.NoSuchProcess):
                self._samples[one.pid, _name(one)].append((at, one.memory_info().rss, one.num_fds()))


def _name(one: psutil.Process) -> str:
    return next((word for word in one.cmdline() if word.startswith("agentcache")), one.name())
