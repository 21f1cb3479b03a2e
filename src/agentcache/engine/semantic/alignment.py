"""How near the words of two prompts are where they are not the same words: features by the vectors of single words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agentcache.engine.semantic.lexicon import SYNONYM, rarity, relation
from agentcache.engine.semantic.texts import Text
from agentcache.engine.semantic.word_vectors import rows_of, word_vectors

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]

#: Names in the order of the values, with the directions that `features.DIRECTION_OF` explains.
ALIGNMENT: Final[dict[str, int]] = {
    "alike": 1,
    "alike_least": 1,
    "alike_second": 1,
    "exchanged_alike": 0,
    "exchanged_least": 0,
    "left_over_less": -1,
    "left_over_more": -1,
    "left_over_most": -1,
    "bag": 1,
    "remainders": 0,
    "function_alike": 0,
}
#: Of two prompts with the same words.
NEUTRAL: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
#: What a synonym of the word lists is worth where its vector says less.
_SYNONYM_ALIKE: Final = 0.8
#: As in `features`: beyond so many words nothing is paired.
_PAIRED_MAX: Final = 24


@lru_cache(maxsize=20_000)
def weight(word: str) -> float:
    """Return what a word counts: 0.25 for the most frequent ones to 1.25."""
    return 0.25 + rarity(word)


@lru_cache(maxsize=4096)
def weights_of(words: tuple[str, ...]) -> list[float]:
    """Return what each word counts."""
    return list(map(weight, words))


@dataclass(frozen=True, slots=True)
class _Sum:
    """A vector for several words, and the square of its length."""

    vector: Floats
    square: float

    @classmethod
    def of(cls, vector: Floats) -> _Sum:
        """Return it with its length."""
        return cls(vector, float(vector @ vector))

    def cosine(self, other: _Sum) -> float:
        """Return how near two are, -1 to 1; 0 where one is nothing."""
        lengths = self.square * other.square
        return float(self.vector @ other.vector) / math.sqrt(lengths) if lengths else 0.0


@dataclass(frozen=True, slots=True)
class _Words:
    """The content words of a prompt: a vector each, their weights, and the weighted sum of the vectors."""

    rows: Floats
    weights: Floats
    #: The same weights.
    counts: list[float]
    total: float
    whole: _Sum


@lru_cache(maxsize=4096)
def _words(content: tuple[str, ...]) -> _Words:
    import numpy as np

    rows, weights = rows_of(content), np.array(weights_of(content), np.float32)
    return _Words(rows, weights, weights.tolist(), float(weights.sum()), _Sum.of(weights @ rows))


Nearness = tuple[list[float], list[float]]


def alignment(
    first: Text, second: Text, left: Sequence[int], right: Sequence[int]
) -> tuple[list[float], Nearness]:  # fmt: skip
    """Return the values of `ALIGNMENT`, and how near the nearest word of the other prompt is to each that it lacks, 0 to 1.

    `left` and `right` are the places of the content words that the other prompt lacks.
    """
    if word_vectors() is None:
        return list(NEUTRAL), ([0.0] * len(left), [0.0] * len(right))
    functions = _functions(first, second)
    ours, theirs = _words(first.content), _words(second.content)
    if not left and not right:
        return [*NEUTRAL[:-3], ours.whole.cosine(theirs.whole), 1.0, functions], ([], [])
    left, right = list(left[:_PAIRED_MAX]), list(right[:_PAIRED_MAX])
    our_rows, their_rows = ours.rows.take(left, axis=0), theirs.rows.take(right, axis=0)
    cosines = (our_rows @ theirs.rows.T).tolist()
    best = _best(first, second, left, right, cosines, (their_rows @ ours.rows.T).tolist())
    gaps = [
        [of.counts[place] * (1 - near) for place, near in zip(places, side, strict=True)]
        for of, places, side in zip((ours, theirs), (left, right), best, strict=True)
    ]
    total = ours.total + theirs.total
    likest = sorted([*best[0], *best[1], 1.0])
    values = [
        1 - sum(map(sum, gaps)) / total if total else 1.0,
        likest[0],
        likest[1],
        *_paired([row[place] for row in cosines for place in right], len(right)),
        *sorted(map(sum, gaps)),
        max(0.0, *gaps[0], *gaps[1]),
        ours.whole.cosine(theirs.whole),
        # What either prompt has alone, as a whole: "get rid of" and "remove".
        _Sum.of(ours.weights.take(left) @ our_rows).cosine(_Sum.of(theirs.weights.take(right) @ their_rows))
        if left and right
        else -0.5,
        functions,
    ]
    return values, best


def _best(
    first: Text, second: Text, left: list[int], right: list[int],
    ours_to: list[list[float]], theirs_to: list[list[float]],
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Return for each word that the other prompt lacks how near the nearest one there is, 0 to 1."""
    ours = [max(row, default=0.0) for row in ours_to]
    theirs = [max(row, default=0.0) for row in theirs_to]
    others = [second.content[place] for place in right]
    for here, place in enumerate(left):
        word = first.content[place]
        found = [relation(word, other) for other in others]
        if SYNONYM not in found:
            continue
        ours[here] = max(ours[here], _SYNONYM_ALIKE)
        for there, how in enumerate(found):
            if how == SYNONYM:
                theirs[there] = max(theirs[there], _SYNONYM_ALIKE)
    return [max(0.0, near) for near in ours], [max(0.0, near) for near in theirs]


def _paired(values: list[float], width: int) -> tuple[float, float]:
    """Return the mean and the least of the cosines of words that are paired one to one, the nearest first; `width` to a row."""
    count = min(width, len(values) // width) if values else 0
    if not count:
        return 0.0, 0.0
    found: list[float] = []
    rows, columns = set[int](), set[int]()
    # Of equal ones the first, as sorting keeps their order.
    for place in sorted(range(len(values)), key=values.__getitem__, reverse=True):
        row, column = divmod(place, width)
        if row in rows or column in columns:
            continue
        found.append(values[place])
        if len(found) == count:
            break
        rows.add(row)
        columns.add(column)
    return sum(found) / count, found[-1]


def _functions(first: Text, second: Text) -> float:
    ours, theirs = first.function_words - second.function_words, second.function_words - first.function_words
    if not ours and not theirs:
        return 1.0
    if not ours or not theirs:
        return 0.0
    return _sum_of(ours).cosine(_sum_of(theirs))


@lru_cache(maxsize=4096)
def _sum_of(words: frozenset[str]) -> _Sum:
    return _Sum.of(rows_of(tuple(sorted(words))).sum(axis=0))
