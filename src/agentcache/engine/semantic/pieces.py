"""The word pieces of a prompt, each with its vector in its sentence: what the embedder saw before it took the mean.

A learned projection (`model/pieces.f16`, made by `training/pieces.py`) makes of each 31 numbers of a byte and one byte that says how much
it matters: 32 bytes a piece, small enough to be kept beside a question. They belong to one projection, whose digest they begin with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
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
    """The pieces of one prompt in their order."""

    #: Of length 1, one a row.
    rows: Floats
    #: What it costs, in log-odds, when the other prompt has nothing like the piece.
    weights: Floats


@dataclass(frozen=True, slots=True)
class Projection:
    """From the embedder's hidden vectors, `[pieces, hidden]`, to what is kept."""

    #: Taken away before both, and `[hidden, DIMENSIONS]`.
    mean: Floats
    axes: Floats
    #: `[hidden]`, and what is added to the product: the weight is the soft positive part of it.
    weigher: Floats
    offset: float
    digest: bytes

    @classmethod
    def read(cls, raw: bytes) -> Projection:
        """Return the projection of a file."""
        values = np.frombuffer(raw, "<f2").astype(np.float32)
        rows = values[:-1].reshape(DIMENSIONS + 2, -1)
        return cls(
            rows[0], np.ascontiguousarray(rows[2:].T), rows[1], float(values[-1]),
            hashlib.sha256(raw).digest()[:_DIGEST_SIZE],
        )  # fmt: skip

    def pack(self, hidden: Floats) -> bytes:
        """Return what is kept of a prompt."""
        centred = hidden[:PIECES_MAX] - self.mean
        rows = centred @ self.axes
        peaks = np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), np.float32(1e-6))
        kept = np.empty(len(rows), _PIECE)
        kept["values"] = np.rint(rows * (np.float32(127) / peaks))
        weights = np.logaddexp(0, centred @ self.weigher + np.float32(self.offset))
        kept["weight"] = np.minimum(np.rint(weights * _WEIGHT_STEPS), 255)
        return self.digest + kept.tobytes()


@cache
def projection() -> Projection | None:
    """Return the projection of this release; None where it has none."""
    path = files(__package__) / "model" / "pieces.f16"
    return Projection.read(path.read_bytes()) if path.is_file() else None


@lru_cache(maxsize=1024)
def read_pieces(kept: bytes) -> PlacedPieces | None:
    """Return the pieces that were kept; None where another projection made them, or there are none."""
    by = projection()
    return None if by is None or kept[:_DIGEST_SIZE] != by.digest else unpack(kept)


def unpack(kept: bytes) -> PlacedPieces | None:
    """Return the pieces that `Projection.pack` kept, whichever projection it was; None where there are none."""
    count, rest = divmod(len(kept) - _DIGEST_SIZE, _PIECE.itemsize)
    if count < 1 or rest:
        return None
    found = np.frombuffer(kept, _PIECE, offset=_DIGEST_SIZE)
    rows = found["values"].astype(np.float32)
    rows /= np.sqrt(np.square(rows).sum(axis=1, keepdims=True)) + np.float32(1e-6)
    return PlacedPieces(rows, found["weight"].astype(np.float32) / np.float32(_WEIGHT_STEPS))
