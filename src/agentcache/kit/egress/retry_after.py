"""When somebody who was asked wants to be asked again."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

#: Numbers with more digits mean nobody's pause.
_DIGITS_MAX: Final = 9


def retry_after_seconds(value: str, now: float) -> float | None:
    """Return the seconds that a `Retry-After` (RFC 9110, 10.2.3) asks for at a Unix time; None for what is none."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value) if len(value) <= _DIGITS_MAX else None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)
