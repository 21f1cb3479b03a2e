"""What of two prompts has nothing like it in the other, by the vectors of their word pieces in their sentences (late interaction).

"A job" in "get a job" lies elsewhere than in "leave a job", and a condition that one prompt lacks has nothing near it in the other.
Each number is the same for (a, b) and (b, a).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentcache.engine.semantic.pieces import PlacedPieces

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
    if not asked or not stored:
        return []
    from agentcache.engine.semantic.pieces import read_pieces

    ours, theirs = read_pieces(asked), read_pieces(stored)
    return [] if ours is None or theirs is None else interaction(ours, theirs)


def interaction(asked: PlacedPieces, stored: PlacedPieces) -> list[float]:
    """Return the values of `INTERACTION`, in some 20 µs: of each piece its weight times how far its nearest counterpart is."""
    cosines = asked.rows @ stored.rows.T
    ours = asked.weights * (1 - cosines.max(axis=1))
    theirs = stored.weights * (1 - cosines.max(axis=0))
    less, more = sorted((float(ours.sum()), float(theirs.sum())))
    losses = sorted([*ours.tolist(), *theirs.tolist()])
    second = losses[-2] if len(losses) > 1 else 0.0
    return [less + more, less, more, losses[-1], second, min(float(ours.max()), float(theirs.max()))]
