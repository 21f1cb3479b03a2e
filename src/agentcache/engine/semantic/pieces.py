"""The word pieces of a prompt, each with its vector in its sentence: what the embedder saw before it took the mean.

A learned projection (`model/pieces.f16`, made by `training/pieces.py`) makes of each 31 numbers of a byte and one byte that says how much
it matters: 32 bytes a piece, small enough to be kept beside a question. They belong to one projection, whose digest they begin with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Any, Final

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]

DIMENSIONS: Final = 31
#: Pieces of a prompt beyond so many are left out: to compare them costs quadratic time.
PIECES_MAX: Final = 90
_PIECE: Final = np.dtype([("weight", "u1"), ("values", "i1", (DIMENSIONS,))])
#: What 1 of weight is in its byte: up to 8 in steps of 1/32.
_WEIGHT_STEPS: Final = 32
_DIGEST_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class PlacedPieces:
    """The pieces of prompts in their order."""

    #: Whole numbers, one piece a row, and what makes each row one of length 1.
    rows: Floats
    scales: Floats
    #: What it costs, in log-odds, when the other prompt has nothing like the piece.
    weights: Floats


@dataclass(frozen=True, slots=True)
class Projection:
    """From the embedder's hidden vectors, `[pieces, hidden]`, to what is kept."""

    #: `[hidden, DIMENSIONS + 1]`, and what is taken away from the product. The last column makes the weight: the soft positive part.
    columns: Floats
    shift: Floats
    digest: bytes

    @classmethod
    def read(cls, raw: bytes) -> Projection:
        """Return the projection of a file."""
        values = np.frombuffer(raw, "<f2").astype(np.float32)
        mean, weigher, *axes = values[:-1].reshape(DIMENSIONS + 2, -1)
        columns = np.ascontiguousarray(np.stack([*axes, weigher], axis=1))
        shift = mean.astype(np.float64) @ columns
        shift[-1] -= values[-1]
        return cls(columns, shift.astype(np.float32), hashlib.sha256(raw).digest()[:_DIGEST_SIZE])

    def pack(self, hidden: Floats) -> bytes:
        """Return what is kept of a prompt."""
        product = hidden[:PIECES_MAX] @ self.columns
        product -= self.shift
        rows = product[:, :DIMENSIONS]
        peaks = np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), np.float32(1e-6))
        kept = np.empty(len(rows), _PIECE)
        kept["values"] = np.rint(rows * (np.float32(127) / peaks))
        weights = np.logaddexp(0, product[:, DIMENSIONS])
        kept["weight"] = np.minimum(np.rint(weights * _WEIGHT_STEPS), 255)
        return self.digest + kept.tobytes()


@cache
def projection() -> Projection | None:
    """Return the projection of this release; None where it has none."""
    path = files(__package__) / "model" / "pieces.f16"
    return Projection.read(path.read_bytes()) if path.is_file() else None


def is_readable(kept: bytes) -> bool:
    """Tell whether it holds pieces, and this release's projection made them."""
    by = projection()
    whole, rest = divmod(len(kept) - _DIGEST_SIZE, _PIECE.itemsize)
    return by is not None and kept[:_DIGEST_SIZE] == by.digest and whole > 0 and not rest


def unpack(kept: Sequence[bytes]) -> tuple[PlacedPieces, list[int]]:
    """Return the pieces of prompts as `Projection.pack` kept them, one prompt after the other, and where each begins."""
    found = np.frombuffer(b"".join([one[_DIGEST_SIZE:] for one in kept]), _PIECE)
    rows = found["values"].astype(np.float32)
    lengths = np.sqrt(np.add.reduce(rows * rows, axis=1)) + np.float32(1e-6)
    weights = found["weight"].astype(np.float32) / np.float32(_WEIGHT_STEPS)
    counts = [(len(one) - _DIGEST_SIZE) // _PIECE.itemsize for one in kept]
    return PlacedPieces(rows, 1 / lengths, weights), [0, *accumulate(counts[:-1])]
