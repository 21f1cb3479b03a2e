"""The vectors of one partition in memory: searched by the signs of their components, then exactly among the best.

A vector's sketch is one bit per dimension, whether the component is positive. The Hamming distance of sketches finds
the 64 most promising rows of 100,000 in a millisecond; those are then compared in int8.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agentcache.engine.semantic.embedders.port import Vector
from agentcache.engine.semantic.index.rows import quantised

#: Rows that are compared exactly after the sketches were; measured, the nearest is always among them.
_RESCORED: Final = 64
#: Up to here every row is compared exactly: that is as quick as looking at sketches first.
_FEW: Final = 256
#: So many are multiplied at once: BLAS shares larger products out to threads, which wait for each other on a busy machine. For
#: 2,112 rows that took 10 ms in place of 1.
_BLOCK_ROWS: Final = 256
#: From so many rows on, one of so many tells where the smallest distances end.
_SAMPLED: Final = 4096
_STEP: Final = 16
#: Bits that differ in so many words of 64 are counted in one byte.
_WORDS_PER_BYTE: Final = 3
#: Most partitions hold a handful of questions.
_ROWS_AT_FIRST: Final = 8


class PartitionArrays:
    """Rows by position. Not thread-safe."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        #: Rows, those that are dead by now among them.
        self.rows = 0
        self._words = -(-dimensions // 64)
        self._ids = np.zeros(_ROWS_AT_FIRST, np.int64)
        self._expires = np.zeros(_ROWS_AT_FIRST, np.float64)
        self._scales = np.zeros(_ROWS_AT_FIRST, np.float32)
        self._values = np.zeros((_ROWS_AT_FIRST, dimensions), np.int8)
        # One row per word, so that each step over all rows reads memory in order.
        self._sketches = np.zeros((self._words, _ROWS_AT_FIRST), np.uint64)

    @property
    def memory_bytes(self) -> int:
        """Memory in use."""
        parts = (self._ids, self._expires, self._sketches, self._values, self._scales)
        return sum(part.nbytes for part in parts)

    def append(self, row_id: int, expires_at: float, values: bytes, scale: float) -> bool:
        """Add a row; False when it has other dimensions than those before it."""
        if len(values) != self.dimensions:
            return False
        if self.rows == len(self._ids):
            self._resize(2 * self.rows)
        at = self.rows
        components = np.frombuffer(values, np.int8)
        self._ids[at], self._expires[at], self._scales[at] = row_id, expires_at, scale
        self._values[at] = components
        self._sketches[:, at] = self._sketch(components)
        self.rows += 1
        return True

    def kill(self, position: int) -> None:
        """Let a row be found no more."""
        self._expires[position] = -np.inf

    def id_at(self, position: int) -> int:
        """Return the id under which a row was added."""
        return int(self._ids[position])

    def search(self, vector: Vector, now: float, limit: int, without: set[int]) -> list[tuple[int, float]]:
        """Return up to `limit` (position, cosine) pairs, nearest first; expired rows and positions `without` left out."""
        if vector.shape[0] != self.dimensions or not self.rows:
            return []
        if self.rows <= _FEW:
            positions = np.flatnonzero(self._alive(now, without))
        else:
            positions = self._promising(self._distances(vector), now, max(_RESCORED, 8 * limit), without)
        # Both sides in int8, or a row would not be exactly as near to itself as can be.
        components, scale = quantised(vector)
        asked, blocks = components.astype(np.float32), range(0, max(len(positions), 1), _BLOCK_ROWS)
        exact = np.concatenate(
            [self._values[positions[at : at + _BLOCK_ROWS]].astype(np.float32) @ asked for at in blocks]
        )
        cosines = exact * self._scales[positions] * np.float32(scale)
        order = np.argsort(-cosines, kind="stable")[:limit]
        return [(int(positions[i]), min(1.0, float(cosines[i]))) for i in order]

    def _alive(self, now: float, without: set[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        alive: np.ndarray[Any, np.dtype[np.bool_]] = self._expires[: self.rows] > now
        if without:
            alive[list(without)] = False
        return alive

    def _promising(
        self, distances: np.ndarray[Any, np.dtype[np.uint16]], now: float, wanted: int, without: set[int]
    ) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Return the positions of the `wanted` smallest distances among rows that are alive; uses `distances` up."""
        most = self.dimensions + 1
        # Mostly all of them are alive, and those that are not need not be looked for.
        positions = _smallest(distances, wanted + len(without), most)
        if without:
            positions = positions[~np.isin(positions, list(without))]
        if (self._expires[positions] > now).all():
            return positions[:wanted]
        alive = self._alive(now, without)
        distances[~alive] = most
        positions = _smallest(distances, wanted, most)
        return positions.compress(alive[positions])

    def _distances(self, vector: Vector) -> np.ndarray[Any, np.dtype[np.uint16]]:
        asked = self._sketch(vector)
        total = np.zeros(self.rows, np.uint16)
        differing = np.empty(self.rows, np.uint64)
        for start in range(0, self._words, _WORDS_PER_BYTE):
            part = np.zeros(self.rows, np.uint8)
            for word in range(start, min(start + _WORDS_PER_BYTE, self._words)):
                part += np.bitwise_count(np.bitwise_xor(self._sketches[word, : self.rows], asked[word], out=differing))
            total += part
        return total

    def _sketch(self, components: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint64]]:
        bits = np.zeros(64 * self._words, np.bool_)
        bits[: self.dimensions] = components > 0
        return np.packbits(bits).view(np.uint64)

    def _resize(self, capacity: int) -> None:
        for name in ("_ids", "_expires", "_scales", "_values", "_sketches"):
            former = getattr(self, name)
            # The last axis of sketches is the row, the first one of all others.
            shape = (len(former), capacity) if name == "_sketches" else (capacity, *former.shape[1:])
            larger = np.zeros(shape, former.dtype)
            larger[tuple(slice(size) for size in former.shape)] = former
            setattr(self, name, larger)


def _smallest(
    distances: np.ndarray[Any, np.dtype[np.uint16]], wanted: int, most: int
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return where the `wanted` smallest of distances up to `most` are, smallest first; of equal ones the oldest rows.

    Distances are few different numbers: counting them takes a sixth of the time that a partition does. Of a large one, a
    sample tells nearly as well how small the smallest are.
    """
    sample, rank = (distances, wanted) if len(distances) < _SAMPLED else (distances[::_STEP], 2 * wanted // _STEP + 6)
    positions = _up_to(distances, _limit(sample, rank, most))
    if len(positions) < min(wanted, len(distances)):
        positions = _up_to(distances, _limit(distances, wanted, most))
    return positions[np.argsort(distances[positions], kind="stable")[:wanted]]


def _limit(distances: np.ndarray[Any, np.dtype[np.uint16]], rank: int, most: int) -> np.intp:
    """Return the smallest number that at least `rank` of the distances are not above."""
    return np.searchsorted(np.cumsum(np.bincount(distances, minlength=most + 1)), rank)


def _up_to(distances: np.ndarray[Any, np.dtype[np.uint16]], limit: np.intp) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.flatnonzero(distances <= limit)
