"""Vectors as numbers: read from either of the two spellings that providers use, written in either, nothing lost.

A base64 embedding is float32 by definition. A list of JSON numbers is kept as float32 when it says exactly what
float32 can say, and as float64 otherwise, so that a caller reads the same numbers from a hit as from the provider.
"""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Any

import msgspec

_JSON = msgspec.json.Encoder()
#: Digits that every float32 survives, and the fewer that many do.
_DIGITS_MAX = 9
_DIGITS_FEWER = (8, 7, 6)


class Form(Enum):
    """What the numbers of a vector are, and so how they are spelled in JSON."""

    #: float32 that came packed; in JSON each is the shortest decimal that reads back as the same float32.
    PACKED = "f4"
    #: float32 that came as JSON numbers which were exactly these; written in full again.
    EXACT = "f4x"
    #: float64, because float32 would have changed a number.
    DOUBLE = "f8"


@dataclass(frozen=True, slots=True)
class Vector:
    """One embedding. `numbers` has type code `d` for `DOUBLE` and `f` otherwise."""

    form: Form
    numbers: array[float]

    @classmethod
    def from_bytes(cls, form: Form, packed: bytes) -> Vector:
        """Read little-endian numbers; raise `ValueError` when their length is not a whole number of them."""
        numbers = array("d" if form is Form.DOUBLE else "f")
        numbers.frombytes(packed)
        return cls(form, _swapped(numbers))

    def to_bytes(self) -> bytes:
        """Return the numbers, little-endian."""
        return _swapped(self.numbers).tobytes()

    def as_base64(self) -> str:
        """Return what `encoding_format: base64` stands for: float32, little-endian."""
        singles = self.numbers if self.numbers.typecode == "f" else array("f", self.numbers)
        return b64encode(_swapped(singles).tobytes()).decode("ascii")

    def as_json(self) -> bytes:
        """Return a JSON array of the numbers. Costs about 1 microsecond per number for `PACKED`."""
        if self.form is Form.PACKED:
            return b"[" + ",".join(shortest_decimals(self.numbers)).encode("ascii") + b"]"
        return _JSON.encode(self.numbers.tolist())


def read_embedding(value: Any) -> Vector | None:
    """Understand the `embedding` of an answer: base64 of float32, or numbers. None for anything else, NaN included."""
    vector = _read_packed(value) if isinstance(value, str) else _read_numbers(value)
    if vector is None or not vector.numbers or not all(map(isfinite, vector.numbers)):
        return None
    return vector


def shortest_decimals(singles: array[float]) -> list[str]:
    """Spell float32 numbers with as few digits as read back to the same float32."""
    numbers = tuple(singles)
    chosen = _spelled(numbers, _DIGITS_MAX)
    for digits in _DIGITS_FEWER:
        shorter = _spelled(numbers, digits)
        read_back = array("f", map(float, shorter))
        chosen = [
            short if back == number else long
            for short, long, back, number in zip(shorter, chosen, read_back, numbers, strict=True)
        ]
    return chosen


def _spelled(numbers: tuple[float, ...], digits: int) -> list[str]:
    # One formatting call for all of them is five times as fast as one call each.
    return (f"%.{digits}g " * len(numbers) % numbers).split()


def _read_packed(text: str) -> Vector | None:
    try:
        return Vector.from_bytes(Form.PACKED, b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None


def _read_numbers(value: Any) -> Vector | None:
    if not isinstance(value, list) or not all(type(number) in (float, int) for number in value):
        return None
    try:
        doubles = array("d", value)
        singles = array("f", value)
    except OverflowError:
        return None
    return Vector(Form.EXACT, singles) if singles.tolist() == doubles.tolist() else Vector(Form.DOUBLE, doubles)


def _swapped(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
