"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, 5.7) spelled as 32 hex digits."""

from __future__ import annotations

from os import urandom
from time import time_ns
from typing import Final

#: The digit that carries the variant bits (10xx), from any random digit.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_id(prefix: str = "") -> str:
    """Return `prefix` and 32 hex digits: 48 bits of milliseconds, 12 of parts of one, 62 random bits. Costs about a microsecond.

    What one process makes 250 ns apart sorts in its order (6.2, method 3), also where a row's own time has milliseconds.
    """
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    random = urandom(8).hex()
    return f"{prefix}{milliseconds:012x}7{(nanoseconds << 12) // 1_000_000:03x}{_VARIANT[random[0]]}{random[1:]}"


def made_at_ms(made_id: str) -> int:
    """Return when an id of `new_id` was made, in Unix milliseconds; `ValueError` when it is none."""
    digits = made_id[-32:]
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError(f"{made_id!r} is not a time-ordered id")
    return int(digits[:12], 16)
