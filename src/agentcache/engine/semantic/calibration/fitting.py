"""A monotone map from an embedder's cosines to those of the embedder that ships, and how well the two agree. Pure.

Isotonic regression: where an embedder tells nothing, the map is flat, so that a high cosine of it is no argument. From each value
a part of what the map leaves unexplained is taken off: who is less sure has to say more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agentcache.engine.semantic.calibration.pairs import CalibrationPair, cosines_of

#: So many standard deviations of what the map leaves unexplained are taken off. Measured: with none of it a weak embedder
#: serves up to 1.3 % of traps, with a quarter none that was measured more than .96 %, as the one that ships.
CAUTION: Final = 0.25
#: From here on pairs are near; what lies below does not come to be served, and is not what caution is about.
NEAR_FROM: Final = 0.7
_NEAR_MIN: Final = 20
#: Cosines that differ less are one: the index keeps vectors in bytes, which moves a cosine by as much.
_GAP: Final = 1e-4
#: Bounds of being fit.
OVER_OTHERS_MIN: Final = 0.97
OVER_TRAPS_MIN: Final = 0.55
CORRELATION_MIN: Final = 0.87

#: Stands behind the name of what gave a score where the cosine was read by a scale: such evidence is weighed apart from other.
CALIBRATED: Final = "+calibrated"
#: The same of an embedder that is not fit: such evidence is shown, and teaches nothing about others.
UNFIT: Final = "+unfit"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well an embedder tells the calibration pairs apart, and how well it agrees with the one that ships."""

    #: How often a rewording is nearer than a pair of two subjects or of one, 0 to 1; .5 is chance.
    over_others: float
    #: How often a rewording is nearer than a trap.
    over_traps: float
    #: Of the ranks of both embedders' cosines, -1 to 1.
    correlation: float
    #: Standard deviation of what the map leaves unexplained, of near pairs.
    spread: float

    @property
    def told(self) -> str:
        """The figures in a few words."""
        return (
            f"rewordings nearer than other questions {self.over_others:.0%}, than traps {self.over_traps:.0%}; "
            f"agreement with the built-in one {self.correlation:.2f}, spread {self.spread:.3f}"
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """A map of cosines: linear between knots, of which the outer ones are at -1 and 1."""

    #: (the embedder's cosine, that of the one that ships); both rise.
    knots: tuple[tuple[float, float], ...]

    @property
    def is_sound(self) -> bool:
        """Whether it is one as `fit_scale` makes it: from -1 to 1, rising, never steeper than a step."""
        if len(self.knots) < 2 or (self.knots[0][0], self.knots[-1][0]) != (-1.0, 1.0):
            return False
        is_rising = all(low < high and value <= higher for (low, value), (high, higher) in pairwise(self.knots))
        return is_rising and self.knots[0][1] >= -1 and self.knots[-1][1] <= 1

    def of(self, cosine: float) -> float:
        """Return what a cosine of the embedder comes to, -1 to 1."""
        place = bisect_left(self.knots, (cosine, -2.0))
        if place == 0 or place == len(self.knots):
            return self.knots[min(place, len(self.knots) - 1)][1]
        (low, low_value), (high, high_value) = self.knots[place - 1], self.knots[place]
        return low_value + (high_value - low_value) * (cosine - low) / (high - low)

    def least(self, value: float) -> float:
        """Return the lowest cosine of the embedder that comes to at least `value`; 2 where none does."""
        for (low, low_value), (high, high_value) in pairwise(self.knots):
            if high_value >= value:
                return (
                    low if low_value >= value else low + (high - low) * (value - low_value) / (high_value - low_value)
                )
        return 2.0


def fit_scale(
    pairs: Sequence[CalibrationPair], cosines: Sequence[float], caution: float = CAUTION
) -> tuple[Scale, Agreement]:
    """Return the map for an embedder that gives the pairs these cosines, and how well it does."""
    wanted = [pair.cosine for pair in pairs]
    blocks = _isotonic(cosines, wanted)
    spread = _spread(_joined(blocks, 0.0), cosines, wanted)
    same = cosines_of("paraphrase", pairs, cosines)
    others = [*cosines_of("subject", pairs, cosines), *cosines_of("unrelated", pairs, cosines)]
    agreement = Agreement(
        over_others=_nearer(same, others),
        over_traps=_nearer(same, cosines_of("trap", pairs, cosines)),
        correlation=_correlation(_ranks(cosines), _ranks(wanted)),
        spread=spread,
    )
    return _joined(blocks, caution * spread), agreement


def why_unfit(agreement: Agreement) -> str:
    """Return why nothing is served by an embedder that agrees so well, in a few words; "" where it is fit."""
    if agreement.over_others < OVER_OTHERS_MIN:
        return "it does not tell rewordings from other questions"
    if agreement.over_traps < OVER_TRAPS_MIN:
        return "it takes what looks alike for the same"
    if agreement.correlation < CORRELATION_MIN:
        return "it agrees too little with the built-in embedder"
    return ""


def _spread(scale: Scale, cosines: Sequence[float], wanted: Sequence[float]) -> float:
    """Return the standard deviation of what a scale leaves unexplained; of all pairs where it finds hardly any near."""
    left = [(scale.of(own), wish) for own, wish in zip(cosines, wanted, strict=True)]
    near = [wish - value for value, wish in left if value >= NEAR_FROM]
    if len(near) < _NEAR_MIN:
        near = [wish - value for value, wish in left]
    return math.sqrt(math.fsum(one * one for one in near) / len(near))


def _isotonic(cosines: Sequence[float], wanted: Sequence[float]) -> list[tuple[float, float]]:
    """Return (mean cosine, mean of what is wanted) of the blocks of pool-adjacent-violators; both rise, the former by `_GAP` at least."""
    blocks: list[list[float]] = []
    for own, wish in sorted(zip(cosines, wanted, strict=True)):
        blocks.append([own, wish, 1.0])
        while len(blocks) > 1 and (blocks[-2][1] >= blocks[-1][1] or blocks[-1][0] - blocks[-2][0] < _GAP):
            own_mean, wish_mean, count = blocks.pop()
            before = blocks[-1]
            whole = before[2] + count
            before[0] = (before[0] * before[2] + own_mean * count) / whole
            before[1] = (before[1] * before[2] + wish_mean * count) / whole
            before[2] = whole
    return [(own, wish) for own, wish, _ in blocks]


def _joined(blocks: Sequence[tuple[float, float]], less: float) -> Scale:
    """Return the map through the blocks, `less` lower; the ends are linear, and the same direction is no more than nearly the same."""
    inner = [(own, max(-1.0, value - less)) for own, value in blocks if abs(own) <= 1 - _GAP]
    return Scale(((-1.0, -1.0), *inner, (1.0, max(1.0 - less, inner[-1][1] if inner else -1.0))))


def _nearer(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how often one of `some` is above one of `others`; equal ones count half."""
    above = sum((one > other) + (one == other) / 2 for one in some for other in others)
    return above / (len(some) * len(others))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2
        start = end + 1
    return ranks


def _correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    middle, other_middle = math.fsum(ones) / len(ones), math.fsum(others) / len(others)
    away = [one - middle for one in ones]
    other_away = [one - other_middle for one in others]
    lengths = math.sqrt(math.fsum(a * a for a in away) * math.fsum(b * b for b in other_away))
    return math.fsum(a * b for a, b in zip(away, other_away, strict=True)) / lengths if lengths else 0.0
