"""From labelled evidence to a namespace's threshold: the lowest score at which wrong answers stay within the target.

Pure. Labels come free: a miss that had a near neighbour is answered by the provider, so both answers can be compared; and of
would-be hits a share is answered by the provider, each standing for the others like it. What comes out is a target that is
measured, no guarantee: the bound holds with the confidence of `Z`, for traffic like that of the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

#: Standard deviations of the Wilson interval: 2 leave 2.3 % above its upper end.
Z: Final = 2.0
#: A threshold that no score reaches: the evidence is against every one.
CLOSED: Final = 1.01
#: With fewer labels nothing is learned.
JUDGEMENTS_MIN: Final = 50


@dataclass(frozen=True, slots=True)
class Judgement:
    """One would-be hit that was compared with the provider's answer."""

    #: As the verifier gave it.
    score: float
    agreed: bool
    #: How many cases like it this one stands for: 1 / the share that is compared.
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """How often hits are wrong, by the evidence; shares are 0 to 1."""

    judgements: int
    wrong: int
    #: Share of wrong ones in the traffic that the evidence stands for, and the Wilson interval around it.
    wrong_share: float
    lower: float
    upper: float


NOTHING_MEASURED: Final = Measured(0, 0, 0.0, 0.0, 1.0)


def wilson(wrong_share: float, size: float, z: float = Z) -> tuple[float, float]:
    """Return the lower and upper end of the Wilson score interval of a share seen in `size` cases."""
    if size <= 0:
        return 0.0, 1.0
    square = z * z
    centre = wrong_share + square / (2 * size)
    half = z * math.sqrt(wrong_share * (1 - wrong_share) / size + square / (4 * size * size))
    whole = 1 + square / size
    return max(0.0, (centre - half) / whole), min(1.0, (centre + half) / whole)


def wilson_upper(wrong_share: float, size: float, z: float = Z) -> float:
    """Return the upper end of `wilson`."""
    return wilson(wrong_share, size, z)[1]


def measure(evidence: Iterable[Judgement], threshold: float = 0.0, z: float = Z) -> Measured:
    """Return how often hits from `threshold` on are wrong."""
    total = _Sum()
    for judgement in evidence:
        if judgement.score >= threshold:
            total.add(judgement)
    return total.measured(z)


def learn(
    evidence: Iterable[Judgement], *, target: float, floor: float, start: float | None = None, z: float = Z
) -> float | None:
    """Return the threshold that the evidence supports, `CLOSED` where it speaks against all, None where it says nothing.

    The lowest score from `floor` on whose hits are wrong in at most `target` of all cases, by the upper end of the interval.
    Where nothing is proven that far, `start` (the threshold in force without evidence; `floor` by default) stays unless
    its own hits are proven to be wrong more often than that: then it rises to where they are not.
    """
    steps = _steps(evidence, floor, z)
    if sum(count for _, _, count in steps) < JUDGEMENTS_MIN:
        return None
    proven = [score for score, found, _ in steps if found.upper <= target]
    if proven:
        return min(proven)
    start = floor if start is None else start
    served = [(score, found) for score, found, _ in steps if score >= start]
    if not served or served[-1][1].lower <= target:
        return None
    # From the highest score on, up to where the proof against begins.
    held = CLOSED
    for score, found in served:
        if found.lower > target:
            break
        held = score
    return held


def _steps(evidence: Iterable[Judgement], floor: float, z: float) -> list[tuple[float, Measured, int]]:
    """Return (score, all from there on, how many at that score) for each score that occurs, highest first."""
    by_score = attrgetter("score")
    ordered = sorted((one for one in evidence if one.score >= floor), key=by_score, reverse=True)
    total, steps = _Sum(), []
    for score, group in groupby(ordered, key=by_score):
        before = total.judgements
        for judgement in group:
            total.add(judgement)
        steps.append((score, total.measured(z), total.judgements - before))
    return steps


class _Sum:
    __slots__ = ("judgements", "squares", "weight", "wrong", "wrong_weight")

    def __init__(self) -> None:
        self.judgements = self.wrong = 0
        self.weight = self.wrong_weight = self.squares = 0.0

    def add(self, one: Judgement) -> None:
        self.judgements += 1
        self.weight += one.weight
        self.squares += one.weight * one.weight
        if not one.agreed:
            self.wrong += 1
            self.wrong_weight += one.weight

    def measured(self, z: float) -> Measured:
        if self.weight <= 0:
            return NOTHING_MEASURED
        share = min(1.0, self.wrong_weight / self.weight)
        # Kish: so many equal cases tell as much as these with their weights.
        lower, upper = wilson(share, self.weight * self.weight / self.squares, z)
        return Measured(self.judgements, self.wrong, share, lower, upper)
