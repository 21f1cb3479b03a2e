"""How sure a namespace's own evidence is of a pair: score, cosine, length and agreement, weighed by what was compared there.

Pure. A logistic regression with a normal prior at "the score as it is": without evidence the risk is one less the score, and each
comparison moves the weights a little. Fitted by Newton's method, which meets the one optimum there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

#: Scores nearer to 0 or 1 than this tell no more: their log-odds would outweigh everything else.
_SCORE_END: Final = 0.002
#: A cosine counts by its distance from here, in tenths: about where people's near questions lie.
_COSINE_MIDDLE: Final = 0.8
#: Of the shorter prompt the words that carry meaning count by their logarithm, from that of so many on.
WORDS_MIDDLE: Final = 4.0
#: Where nobody knows which answers the neighbours have, the agreement is taken to be this; it counts by halves.
AGREEMENT_UNKNOWN: Final = 0.25
#: Mean of the prior: (bias, log-odds of the score, cosine, words, agreement).
_PRIOR: Final = (0.0, 1.0, 0.0, 0.0, 0.0)
WEIGHTS: Final = len(_PRIOR)
#: Its precision. The weights other than the bias need tens of comparisons before they move.
_PRECISION: Final = (1.0, 10.0, 10.0, 10.0, 10.0)
_STEPS_MAX: Final = 25
_STEP_MIN: Final = 1e-5
#: What a step is to gain at least of what the slope at its beginning promises; near the optimum it is half of that.
_GAIN_MIN: Final = 0.25
_LOG_ODDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signals:
    """What is weighed of a pair."""

    #: The verifier's, 0 to 1.
    score: float
    cosine: float
    #: How many words carry meaning in the shorter of both: a likeness of long prompts is seldom chance.
    words: float = WORDS_MIDDLE
    #: Which share of the near questions is known to have this one's answer, 0 to 1.
    agreement: float = AGREEMENT_UNKNOWN

    @property
    def terms(self) -> tuple[float, float, float, float, float]:
        """Return them as the regression takes them."""
        score = min(max(self.score, _SCORE_END), 1 - _SCORE_END)
        words = math.log((1 + max(self.words, 0.0)) / (1 + WORDS_MIDDLE))
        cosine = 10 * (self.cosine - _COSINE_MIDDLE)
        return 1.0, math.log(score / (1 - score)), cosine, words, 2 * self.agreement


@dataclass(frozen=True, slots=True)
class Weighing:
    """The weights of the terms of `Signals`, in their order."""

    weights: tuple[float, ...] = _PRIOR

    def risk(self, signals: Signals) -> float:
        """Return from 0 to 1 how likely the pair is to want two answers."""
        log_odds = sum(weight * term for weight, term in zip(self.weights, signals.terms, strict=True))
        return _logistic(-log_odds)


def fit(signals: Sequence[Signals], agreed: Sequence[bool], start: Weighing | None = None) -> Weighing:
    """Return the weighing that compared pairs speak for, with `agreed` saying of each whether one answer served both.

    `start` is one that is near it: it saves steps and changes nothing else.
    """
    rows = [one.terms for one in signals]
    at = _Point(rows, agreed, list(_PRIOR if start is None else start.weights))
    for _ in range(_STEPS_MAX):
        step = _solved(at.curvature, at.gradient)
        if max(map(abs, step)) < _STEP_MIN:
            break
        following = at.moved(step)
        promised = sum(map(mul, step, at.gradient))
        # Far from the optimum a whole step goes beyond it: steps that gain next to nothing would go to and fro for ever.
        while following.likelihood < at.likelihood + _GAIN_MIN * promised and max(map(abs, step)) > _STEP_MIN:
            step, promised = [change / 2 for change in step], promised / 2
            following = at.moved(step)
        at = following
    return Weighing(tuple(at.weights))


class _Point:
    """Some weights, the logarithm of their posterior likelihood, and its gradient and negative curvature there."""

    def __init__(self, rows: Sequence[tuple[float, ...]], agreed: Sequence[bool], weights: list[float]) -> None:
        self._rows, self._agreed, self.weights = rows, agreed, weights
        size = range(len(weights))
        away = [weights[one] - _PRIOR[one] for one in size]
        self.likelihood = -sum(_PRECISION[one] * away[one] ** 2 for one in size) / 2
        self.gradient = [-_PRECISION[one] * away[one] for one in size]
        self.curvature = [[_PRECISION[one] if one == other else 0.0 for other in size] for one in size]
        for row, is_same in zip(rows, agreed, strict=True):
            self._add(row, is_same)
        for one in size:
            for other in range(one):
                self.curvature[other][one] = self.curvature[one][other]

    def moved(self, step: Sequence[float]) -> _Point:
        weights = [weight + change for weight, change in zip(self.weights, step, strict=True)]
        return _Point(self._rows, self._agreed, weights)

    def _add(self, row: tuple[float, ...], is_same: bool) -> None:
        likely = _logistic(sum(map(mul, self.weights, row)))
        self.likelihood += math.log(likely if is_same else 1 - likely)
        missed, spread = is_same - likely, likely * (1 - likely)
        for one, term in enumerate(row):
            self.gradient[one] += missed * term
            curves, weighted = self.curvature[one], spread * term
            for other in range(one + 1):
                curves[other] += weighted * row[other]


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Return x of `matrix` x = `right` for a positive definite matrix, by Gauss without pivoting."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(size):
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            for column in range(at, size + 1):
                rows[below][column] -= factor * rows[at][column]
    found = [0.0] * size
    for at in reversed(range(size)):
        known = sum(rows[at][column] * found[column] for column in range(at + 1, size))
        found[at] = (rows[at][size] - known) / rows[at][at]
    return found


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -_LOG_ODDS_MAX), _LOG_ODDS_MAX)))
