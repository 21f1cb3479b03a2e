"""The one-sided Clopper-Pearson bound of a share, by the incomplete beta function, for counts that need not be whole."""

from __future__ import annotations

import math
from typing import Final

_TERMS_MAX: Final = 500
_EXACT_TO: Final = 1e-12
_TINY: Final = 1e-300


def is_below(wrong: float, size: float, share: float, alpha: float) -> bool:
    """Say whether `wrong` of `size` prove a share of at most `share`, with an error of `alpha`: Clopper and Pearson's upper bound."""
    if not 0 < share < 1 or size <= 0 or wrong >= size * share:
        return False
    return at_most(wrong, size, share) <= alpha


def at_most(wrong: float, size: float, share: float) -> float:
    """Return how likely at most `wrong` of `size` are where the share is `share`, 0 < `share` < 1 and `wrong` < `size`."""
    return 1 - _incomplete_beta(wrong + 1, size - wrong, share)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by Lentz's continued fraction."""
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    last, found = 1.0, _away_from_0(1 - (a + b) * x / (a + 1))
    d = 1 / found
    found = d
    for m in range(1, _TERMS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d = 1 / _away_from_0(1 + term * d)
            last = _away_from_0(1 + term / last)
            change = d * last
            found *= change
        if abs(change - 1) < _EXACT_TO:
            break
    return found


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
