"""Entries that this worker has just read, and the counters that tell whether they still stand in the file.

A copy is good only while no row has been removed or replaced since it was read, by any worker. The counters are in
memory that all workers of a machine share, and a removal counts before it is acknowledged: so an acknowledged
invalidation is final here too.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from agentcache.engine.entries import Lookup

#: What the copies of one worker may take, in bytes of bodies, and the largest body that is copied.
RECENT_BYTES_MAX = 32 << 20
RECENT_ENTRY_BYTES_MAX = 256 << 10
#: What an entry takes in memory besides its body.
_ENTRY_BYTES = 3000
_EPOCH, _BEGUN, _DONE = range(3)
_SIZE = 3 * 8


class SharedCounters:
    """Three numbers next to the cache file: how often it was set aside, removals begun, removals done.

    Whoever removes holds SQLite's write lock from `begin_removal` to its commit, so no two count at once. A worker
    that dies in between leaves begun ahead of done: copies are then not used until the next removal is done.
    """

    def __init__(self, path: Path) -> None:
        with path.open("ab+") as file:
            if file.seek(0, os.SEEK_END) < _SIZE:
                file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        # Elements of a cast view are read and written as whole machine words, never torn.
        self._numbers = memoryview(self._map).cast("Q")

    @property
    def epoch(self) -> int:
        """How often the file has been set aside."""
        return self._numbers[_EPOCH]

    def count_epoch(self) -> None:
        """Note that the file has been set aside."""
        self._numbers[_EPOCH] += 1

    def generation(self) -> int:
        """Return the number of removals, or -1 while one is under way."""
        # Done first: a removal that begins between the two reads then shows as under way.
        done = self._numbers[_DONE]
        return done if self._numbers[_BEGUN] == done else -1

    def begin_removal(self) -> int:
        """Make every copy unusable until `end_removal`; call it inside the write transaction."""
        self._numbers[_BEGUN] += 1
        return self._numbers[_BEGUN]

    def end_removal(self, begun: int) -> None:
        """Let copies be made again, of what the file holds after the commit."""
        self._numbers[_DONE] = max(self._numbers[_DONE], begun)

    def close(self) -> None:
        """Release the memory."""
        self._numbers.release()
        self._map.close()


class Recent(NamedTuple):
    """A look-up that found an entry, when it was true, and where the entry is."""

    epoch: int
    generation: int
    tenant_id: str
    row_id: int
    dead_at: float
    lookup: Lookup


class RecentLookups:
    """The look-ups of this worker that found something, bounded in bytes, oldest out first."""

    def __init__(self, bytes_max: int = RECENT_BYTES_MAX) -> None:
        self._by_key: OrderedDict[bytes, tuple[Recent, int]] = OrderedDict()
        self._bytes = 0
        self._bytes_max = bytes_max

    def find(self, key: bytes, tenant_id: str, epoch: int, generation: int) -> Recent | None:
        """Return what is known of a key if it is this tenant's and still stands."""
        found = self._by_key.get(key)
        if found is None:
            return None
        recent = found[0]
        if recent.generation == generation and recent.epoch == epoch and recent.tenant_id == tenant_id:
            return recent
        return None

    def keep(self, key: bytes, recent: Recent) -> None:
        """Remember a look-up; `recent.generation` was read before the file was."""
        entry = recent.lookup.entry
        if entry is None or recent.generation < 0 or len(entry.body) > RECENT_ENTRY_BYTES_MAX:
            return
        known = self._by_key.pop(key, None)
        if known is not None:
            self._bytes -= known[1]
        weight = len(entry.body) + _ENTRY_BYTES
        self._by_key[key] = (recent, weight)
        self._bytes += weight
        while self._bytes > self._bytes_max:
            _, (_, oldest) = self._by_key.popitem(last=False)
            self._bytes -= oldest

    def clear(self) -> None:
        """Forget everything."""
        self._by_key.clear()
        self._bytes = 0
