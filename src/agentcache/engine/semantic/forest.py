"""The verifier's trees laid out in arrays: all candidates of a look-up go through all trees in ten array operations.

Of each tree the leaves are numbered from left to right, and each inner node has a mask without the leaves on its left. The leaf
that a pair comes to is the lowest one that no mask of a node that sends it to the right has struck out; so no node has to wait for
the one above it (Lucchese and others, QuickScorer, 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

#: `(feature, threshold, left, right)`: left where the value is not above the threshold; or a leaf's value in log-odds.
Node = tuple[int, float, "Node", "Node"] | float

#: A mask is one machine word.
LEAVES_MAX: Final = 64


class Forest:
    """Trees in arrays, some 200 kB for 400 of them. Raises `ValueError` for a tree of more than `LEAVES_MAX` leaves."""

    def __init__(self, trees: Sequence[Node]) -> None:
        nodes: list[tuple[int, float, int]] = []
        starts, first_leaves, leaves = [], [], list[float]()
        for tree in trees:
            starts.append(len(nodes))
            first_leaves.append(len(leaves))
            _lay_out(tree, nodes, leaves, len(leaves))
            if starts[-1] == len(nodes):
                # A segment of nothing cannot be reduced: a tree that is one leaf asks for what always holds.
                nodes.append((0, np.inf, 0))
        widest = max(end - start for start, end in pairwise((*first_leaves, len(leaves))))
        if widest > LEAVES_MAX:
            raise ValueError(f"A tree has more than {LEAVES_MAX} leaves.")
        # Half the memory to go through, where that is enough.
        word = np.uint32 if widest <= 32 else np.uint64
        # Many nodes ask the same: each condition is looked at once.
        conditions = sorted({node[:2] for node in nodes})
        place_of = {condition: place for place, condition in enumerate(conditions)}
        self._features = np.array([feature for feature, _ in conditions], np.intp)
        self._thresholds = np.array([threshold for _, threshold in conditions])
        self._conditions = np.array([place_of[node[:2]] for node in nodes], np.intp)
        self._masks = np.invert(np.array([node[2] for node in nodes], word))
        self._starts = np.array(starts, np.intp)
        self._first_leaves = np.array(first_leaves, np.intp)
        self._leaves = np.array(leaves)
        self._none, self._one, self._all = word(0), word(1), word(np.iinfo(word).max)

    def sums(self, rows: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
        """Return for each row of features the sum of the values of all trees' leaves."""
        goes_left = rows.take(self._features, axis=1) <= self._thresholds
        kept = np.where(goes_left, self._all, self._none).take(self._conditions, axis=1)
        kept |= self._masks
        left_over: np.ndarray[Any, Any] = np.bitwise_and.reduceat(kept, self._starts, axis=1)
        # As many bits stand below the lowest that is set as there are leaves before it.
        places = np.bitwise_count(~left_over & (left_over - self._one))
        found: list[float] = self._leaves.take(self._first_leaves + places).sum(axis=1).tolist()
        return found


def _lay_out(node: Node, nodes: list[tuple[int, float, int]], leaves: list[float], first: int) -> None:
    """Add a tree's inner nodes, each with the leaves on its left as bits, and its leaves."""
    if isinstance(node, float):
        leaves.append(node)
        return
    feature, threshold, left, right = node
    start, place = len(leaves) - first, len(nodes)
    nodes.append((feature, threshold, 0))
    _lay_out(left, nodes, leaves, first)
    nodes[place] = (feature, threshold, (1 << len(leaves) - first) - (1 << start))
    _lay_out(right, nodes, leaves, first)
