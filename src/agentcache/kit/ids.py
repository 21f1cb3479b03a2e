"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, 5.7) spelled as 32 hex digits."""

from __future__ import annotations

from os import urandom
from time import time_ns
from typing import Final

#: The digit that carries the variant bits (10xx), from any random digit.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_id(prefix: str = "") -> str:
    """Return `prefix` and 32 hex digits: 48 bits of milliseconds, 74 random bits. Costs about a microsecond."""
    random = urandom(10).hex()
    return f"{prefix}{time_ns() // 1_000_000:012x}7{random[:3]}{_VARIANT[random[3]]}{random[4:19]}"


def made_at_ms(made_id: str) -> int:
    """Return when an id of `new_id` was made, in Unix milliseconds; `ValueError` when it is none."""
    digits = made_id[-32:]
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError(f"{made_id!r} is not a time-ordered id")
    return int(digits[:12], 16)
