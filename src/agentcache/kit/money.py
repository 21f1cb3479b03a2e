"""Amounts in US dollars as whole numbers of 1e-9 USD (nanos); never a binary fraction."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000
_AMOUNT: Final = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,30}))?")


def usd(nanos: int) -> str:
    """Return an amount as a decimal string with at least two and at most nine decimals: `0.000123`, `12.50`."""
    whole, fraction = divmod(abs(nanos), NANOS_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanos < 0 else ''}{whole}.{decimals}"


def parse_usd(text: str) -> int:
    """Return the nanos of a decimal string; `ValueError` says what is wrong, also when nanos are too coarse for it."""
    found = _AMOUNT.fullmatch(text.strip()) if text.isascii() else None
    if found is None:
        raise ValueError(f'{text[:60]!r} is not an amount in US dollars, such as "0.000123"')
    sign, whole, decimals = found[1], found[2], (found[3] or "").rstrip("0")
    if len(decimals) > 9:
        raise ValueError(f"{text[:60]!r} has more than nine decimals; amounts are kept in billionths of a dollar")
    nanos = int(whole) * NANOS_PER_USD + int(decimals.ljust(9, "0"))
    return -nanos if sign else nanos


def nanos_from_decimal(amount: Decimal) -> int:
    """Return the nearest whole number of nanos to an exact amount in dollars; a tie goes to the even one."""
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount in US dollars")
    return int((amount * NANOS_PER_USD).to_integral_value(rounding=ROUND_HALF_EVEN))
