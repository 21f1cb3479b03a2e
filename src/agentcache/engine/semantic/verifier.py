"""The verifier: from the differences of two prompts to the odds that one answer serves both.

A gradient-boosted ensemble of small trees and a few small networks (`networks.py`), both fitted by `training/`. The trees are walked
here in plain Python; many pairs at once go through `forest.py`. The model is a file of the package (`model/verifier.json`, its card
beside it): nodes as `[feature, threshold, left, right]`, leaves as numbers, layers as weights and biases, and what the cosine counts
beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.interaction import INTERACTION
from agentcache.engine.semantic.networks import Networks
from agentcache.engine.semantic.texts import Text

if TYPE_CHECKING:
    from agentcache.engine.semantic.forest import Forest

FORMAT: Final = 4
#: The score of two prompts in other frames of asking: "how can I", "how do I". A threshold that evidence raised may be above.
SAME_FRAME: Final = 0.99
#: Names of the values of `pair_features` followed by those of `interaction`.
PLACED_FEATURES: Final = (*FEATURES, *INTERACTION)
_COSINE_AT: Final = FEATURES.index("cosine")
#: Leaves are whole numbers of so small a part of 1: their sums are exact, in whatever order.
_LEAF_STEPS: Final = 2.0**40

#: `(feature, threshold, left, right)`: left where the value is not above the threshold; or a leaf's value in log-odds.
Node = tuple[int, float, "Node", "Node"] | float


class UnusableModel(Exception):
    """The model file does not fit this release."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A feature that moved a score: its value, and by how much log-odds against an untouched pair."""

    feature: str
    value: float
    effect: float


class Verifier:
    """A model in memory; `score` takes about 0.2 ms, `scores` of three rows 0.13 ms where numpy is installed."""

    def __init__(self, document: dict[str, Any], features: tuple[str, ...] = FEATURES) -> None:
        if document.get("format") != FORMAT or document.get("features") != list(features):
            raise UnusableModel("The verifier's model was made for other features.")
        self.features = features
        self.version: str = document["version"]
        #: At most 1 % of the non-equivalent pairs of any development set are served at this score.
        self.safe_threshold: float = document["thresholds"]["safe"]
        #: At most 10 % of them, of any set: evidence from a namespace's own traffic may lead down to here, nothing else.
        self.balanced_threshold: float = document["thresholds"]["balanced"]
        #: The values of a pair with nothing between the two prompts: reasons are told against it.
        self._neutral: list[float] = document["neutral"]
        #: Added to the log-odds: brings the safe threshold of the trees with pieces to that of the others, so that there is one.
        self.shift: float = document.get("shift", 0.0)
        #: Log-odds for each 1 of cosine above the pivot, up to the ceiling, beside what the trees make of it.
        self._cosine_weight: float = document["cosine"]["weight"]
        self._cosine_pivot: float = document["cosine"]["pivot"]
        self._cosine_ceiling: float = document["cosine"]["ceiling"]
        self._trees: list[Node] = [_node(tree) for tree in document["trees"]]
        self._networks = Networks(document["networks"])
        #: What the networks count, 0 to 1; the trees count the rest. They were fitted to texts alone, and judge with either trees.
        self._share: float = document["networks"]["share"]
        #: Per feature the places of the trees that ask for it: only they say something else when it changes.
        self._asking: list[list[int]] = [[] for _ in features]
        for place, tree in enumerate(self._trees):
            for feature in _features_of(tree):
                self._asking[feature].append(place)
        #: The trees for pairs of which the word pieces are known in their sentences too, with `PLACED_FEATURES`; None without them.
        self.placed: Verifier | None = None
        if "placed" in document:
            shared = {name: document[name] for name in ("format", "version", "thresholds", "cosine", "networks")}
            self.placed = Verifier(shared | document["placed"], PLACED_FEATURES)

    def score(self, features: Sequence[float]) -> float:
        """Return from 0 to 1 how sure it is that one answer serves both prompts, for the values of `pair_features`.

        Where those of `interaction` follow, what was fitted to both judges, if the model has it.
        """
        if self.placed is not None and len(features) > len(self.features):
            return self.placed.score(features)
        leaves = sum(_leaf(tree, features) for tree in self._trees)
        return self._probability(leaves, self._networks.log_odds([features])[0], features)

    def scores(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return `score` of each row, to the last bit; of three at once in a third of the time where numpy is installed."""
        if self.placed is not None and any(len(features) > len(self.features) for features in rows):
            return self._mixed_scores(self.placed, rows)
        forest = self._forest
        if forest is None or not rows:
            return [self.score(features) for features in rows]
        import numpy as np

        wide = np.array(rows, np.float64)
        smooth = self._networks.log_odds(wide)
        return [
            self._probability(stepped, of, row)
            for stepped, of, row in zip(forest.sums(wide), smooth, rows, strict=True)
        ]

    def judge(self, asked: Text, stored: Text, features: Sequence[float]) -> float:
        """Return the score of two prompts, for which no veto speaks; those that differ in their way of asking alone are the same."""
        return framed_score(asked, stored, self.score(features))

    def reasons(self, features: Sequence[float], n: int = 3) -> list[Reason]:
        """Return the `n` features that moved the score most, each set back to neutral on its own."""
        if self.placed is not None and len(features) > len(self.features):
            return self.placed.reasons(features, n)
        # A model without trees for pieces has no use for what follows.
        features = features[: len(self.features)]
        leaves = [_leaf(tree, features) for tree in self._trees]
        changed = [index for index, neutral in enumerate(self._neutral) if features[index] != neutral]
        withouts = [[*features[:index], self._neutral[index], *features[index + 1 :]] for index in changed]
        whole, *smooth = self._networks.log_odds([features, *withouts])
        found = []
        for index, without, of in zip(changed, withouts, smooth, strict=True):
            stepped = sum(leaves[place] - _leaf(self._trees[place], without) for place in self._asking[index])
            effect = (1 - self._share) * stepped + self._share * (whole - of)
            if index == _COSINE_AT:
                effect += self._beside(features[index]) - self._beside(self._neutral[index])
            found.append(Reason(self.features[index], features[index], effect))
        found.sort(key=lambda reason: -abs(reason.effect))
        return found[:n]

    def _mixed_scores(self, placed: Verifier, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return the scores of rows of which some have the values of `interaction`: rows that were stored before have none."""
        long = [len(features) > len(self.features) for features in rows]
        with_pieces = iter(placed.scores([features for features, is_long in zip(rows, long, strict=True) if is_long]))
        without = iter(self.scores([features for features, is_long in zip(rows, long, strict=True) if not is_long]))
        return [next(with_pieces if is_long else without) for is_long in long]

    def _probability(self, trees: float, networks: float, features: Sequence[float]) -> float:
        log_odds = (1 - self._share) * trees + self._share * networks + self.shift
        return _probability(log_odds + self._beside(features[_COSINE_AT]))

    def _beside(self, cosine: float) -> float:
        """Return the log-odds that the cosine counts beside trees and networks."""
        return self._cosine_weight * (min(cosine, self._cosine_ceiling) - self._cosine_pivot)

    @cached_property
    def _forest(self) -> Forest | None:
        """The same trees in arrays; None without numpy, and for trees too wide for them, which are walked."""
        if find_spec("numpy") is None:
            return None
        from agentcache.engine.semantic.forest import Forest

        try:
            return Forest(self._trees)
        except ValueError:
            # Trees with more leaves than a word has bits: walked one after the other, to the same scores.
            return None


def framed_score(asked: Text, stored: Text, score: float) -> float:
    """Return the score of two prompts by that of their features: those that differ in their way of asking alone are the same."""
    return max(score, SAME_FRAME) if asked.framed == stored.framed else score


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


@cache
def load_verifier() -> Verifier:
    """Return the verifier of this release, read at the first call (about 20 ms)."""
    return Verifier(json.loads((files(__package__) / "model" / "verifier.json").read_text(encoding="utf-8")))


def _leaf(node: Node, features: Sequence[float]) -> float:
    """Return the value of the leaf that these features lead to."""
    while node.__class__ is tuple:
        feature, threshold, left, right = node  # the condition says: no leaf
        node = left if features[feature] <= threshold else right
    return node  # type: ignore[return-value]  # a leaf


def _features_of(node: Node) -> set[int]:
    if isinstance(node, float):
        return set()
    feature, _, left, right = node
    return {feature} | _features_of(left) | _features_of(right)


def _node(written: Any) -> Node:
    if isinstance(written, list):
        feature, threshold, left, right = written
        return feature, threshold, _node(left), _node(right)
    return float(round(written * _LEAF_STEPS) / _LEAF_STEPS)
