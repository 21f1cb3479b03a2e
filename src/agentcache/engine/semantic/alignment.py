"""How near the words of two prompts are where they are not the same words: features by the vectors of single words."""

from __future__ import annotations

from collections.abc import Sequence
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


def weight(word: str) -> float:
    """Return what a word counts: 0.25 for the most frequent ones to 1.25."""
    return 0.25 + rarity(word)


def alignment(first: Text, second: Text, left: Sequence[int], right: Sequence[int]) -> list[float]:
    """Return the values of `ALIGNMENT`; `left` and `right` are the places of content words that the other prompt lacks."""
    if word_vectors() is None:
        return list(NEUTRAL)
    import numpy as np

    ours, theirs = rows_of(first.content), rows_of(second.content)
    our_weights = np.array([weight(word) for word in first.content], np.float32)
    their_weights = np.array([weight(word) for word in second.content], np.float32)
    left, right = list(left[:_PAIRED_MAX]), list(right[:_PAIRED_MAX])
    cosines = ours @ theirs.T
    ours_best, theirs_best = _best(first, second, left, right, cosines)
    gaps = np.concatenate([our_weights * (1 - ours_best), their_weights * (1 - theirs_best)])
    total = float(our_weights.sum() + their_weights.sum())
    likest = np.sort(np.concatenate([ours_best, theirs_best, np.ones(2, np.float32)]))
    left_over = sorted((float(gaps[: len(ours)].sum()), float(gaps[len(ours) :].sum())))
    mean, least = _paired(cosines[np.ix_(left, right)])
    return [
        1 - float(gaps.sum()) / total if total else 1.0,
        float(likest[0]),
        float(likest[1]),
        mean,
        least,
        *left_over,
        float(gaps.max(initial=0.0)),
        _cosine(our_weights @ ours, their_weights @ theirs),
        _remainders(our_weights[left] @ ours[left], their_weights[right] @ theirs[right], len(left), len(right)),
        _functions(first, second),
    ]


def _best(
    first: Text, second: Text, left: list[int], right: list[int], cosines: Floats
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return for each content word how near the nearest of the other prompt is, 0 to 1."""
    import numpy as np

    ours, theirs = np.ones(len(first.content), np.float32), np.ones(len(second.content), np.float32)
    ours[left] = cosines[left].max(axis=1, initial=0.0)
    theirs[right] = cosines[:, right].max(axis=0, initial=0.0)
    for one in left:
        for other in right:
            if relation(first.content[one], second.content[other]) == SYNONYM:
                ours[one] = max(ours[one], _SYNONYM_ALIKE)
                theirs[other] = max(theirs[other], _SYNONYM_ALIKE)
    return ours, theirs


def _paired(cosines: Floats) -> tuple[float, float]:
    """Return the mean and the least cosine of words that are paired one to one, the nearest first."""
    if not cosines.size:
        return (1.0, 1.0) if cosines.shape == (0, 0) else (0.0, 0.0)
    found = []
    rest = cosines.copy()
    for _ in range(min(rest.shape)):
        row, column = divmod(int(rest.argmax()), rest.shape[1])
        found.append(float(rest[row, column]))
        rest[row], rest[:, column] = -2, -2
    return sum(found) / len(found), found[-1]


def _remainders(ours: Floats, theirs: Floats, our_count: int, their_count: int) -> float:
    """Return the cosine of what either prompt has alone, as a whole: "get rid of" and "remove"."""
    if our_count and their_count:
        return _cosine(ours, theirs)
    return -0.5 if our_count or their_count else 1.0


def _functions(first: Text, second: Text) -> float:
    ours, theirs = first.function_words - second.function_words, second.function_words - first.function_words
    if not ours and not theirs:
        return 1.0
    if not ours or not theirs:
        return 0.0
    return _cosine(rows_of(tuple(sorted(ours))).sum(axis=0), rows_of(tuple(sorted(theirs))).sum(axis=0))


def _cosine(one: Floats, other: Floats) -> float:
    import math

    lengths = float(one @ one) * float(other @ other)
    return float(one @ other) / math.sqrt(lengths) if lengths else 0.0
