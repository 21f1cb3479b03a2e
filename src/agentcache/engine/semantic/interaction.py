"""What of two prompts has nothing like it in the other, by the vectors of their word pieces in their sentences (late interaction).

"A job" in "get a job" lies elsewhere than in "leave a job", and a condition that one prompt lacks has nothing near it in the other.
Each number is the same for (a, b) and (b, a).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Final

#: Names in the order of the values, with the directions that `features.DIRECTION_OF` explains.
INTERACTION: Final[dict[str, int]] = {
    "pieces_lost": -1,
    "pieces_lost_less": -1,
    "pieces_lost_more": -1,
    "pieces_worst": -1,
    "pieces_second": -1,
    "pieces_worst_both": -1,
}


def kept_interaction(asked: bytes, stored: bytes) -> list[float]:
    """Return the values of `INTERACTION` for what is kept of two prompts; nothing where either has no pieces that can be read."""
    return kept_interactions(asked, [stored])[0]


def kept_interactions(asked: bytes, stored: Sequence[bytes]) -> list[list[float]]:
    """Return `kept_interaction` of a prompt with each of several, to the last bit, all in one go."""
    if not asked or not any(stored):
        return [[] for _ in stored]
    from agentcache.engine.semantic.pieces import is_readable

    readable = [is_readable(kept) for kept in stored] if is_readable(asked) else [False] * len(stored)
    found = iter(interactions(asked, list(compress(stored, readable))))
    return [next(found) if is_so else [] for is_so in readable]


def interactions(asked: bytes, stored: Sequence[bytes]) -> list[list[float]]:
    """Return for each stored prompt the values of `INTERACTION`: of each piece its weight times how far its nearest counterpart is.

    All of them have pieces of one projection, whichever it is.
    """
    if not stored:
        return []
    import numpy as np

    from agentcache.engine.semantic.pieces import unpack

    placed, starts = unpack([asked, *stored])
    first = starts[1]
    # Of whole numbers, so that a product does not depend on what else is multiplied with it.
    cosines = placed.rows[:first] @ placed.rows[first:].T
    cosines *= placed.scales[:first, None] * placed.scales[first:]
    begins = [start - first for start in starts[1:]]
    ours = placed.weights[:first, None] * (1 - np.maximum.reduceat(cosines, begins, axis=1))
    theirs = (placed.weights[first:] * (1 - cosines.max(axis=0))).tolist()
    ends = [*begins[1:], len(theirs)]
    return [_values(one, theirs[begin:end]) for one, begin, end in zip(ours.T.tolist(), begins, ends, strict=True)]


def _values(ours: list[float], theirs: list[float]) -> list[float]:
    less, more = sorted((sum(ours), sum(theirs)))
    losses = sorted([*ours, *theirs])
    return [less + more, less, more, losses[-1], losses[-2], min(max(ours), max(theirs))]
