"""The verifier: from the differences of two prompts to the odds that one answer serves both.

A gradient-boosted ensemble of small trees, fitted by `training/`, walked here in plain Python; many pairs at once go through
`forest.py`. The model is a file of the
package (`model/verifier.json`, its card beside it): nodes as `[feature, threshold, left, right]`, leaves as numbers.
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
from agentcache.engine.semantic.texts import Text

if TYPE_CHECKING:
    from agentcache.engine.semantic.forest import Forest

FORMAT: Final = 1
#: The score of two prompts in other frames of asking: "how can I", "how do I". A threshold that evidence raised may be above.
SAME_FRAME: Final = 0.99

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
    """A model in memory; `score` takes about 0.15 ms, `scores` of three rows as much."""

    def __init__(self, document: dict[str, Any]) -> None:
        if document.get("format") != FORMAT or document.get("features") != list(FEATURES):
            raise UnusableModel("The verifier's model was made for other features.")
        self.version: str = document["version"]
        #: At most 1 % of the non-equivalent pairs of any development set are served at this score.
        self.safe_threshold: float = document["thresholds"]["safe"]
        #: At most 10 % of them, of any set: evidence from a namespace's own traffic may lead down to here, nothing else.
        self.balanced_threshold: float = document["thresholds"]["balanced"]
        #: The values of a pair with nothing between the two prompts: reasons are told against it.
        self._neutral: list[float] = document["neutral"]
        self._trees: list[Node] = [_node(tree) for tree in document["trees"]]
        #: Per feature the places of the trees that ask for it: only they say something else when it changes.
        self._asking: list[list[int]] = [[] for _ in FEATURES]
        for place, tree in enumerate(self._trees):
            for feature in _features_of(tree):
                self._asking[feature].append(place)

    def score(self, features: Sequence[float]) -> float:
        """Return from 0 to 1 how sure it is that one answer serves both prompts, for the values of `pair_features`."""
        return _probability(sum(_leaf(tree, features) for tree in self._trees))

    def scores(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return `score` of each row, to the last bit; of three at once in a third of the time where numpy is installed."""
        forest = self._forest
        if forest is None or not rows:
            return [self.score(features) for features in rows]
        return [_probability(sum(leaves)) for leaves in forest.leaves(rows)]

    def judge(self, asked: Text, stored: Text, features: Sequence[float]) -> float:
        """Return the score of two prompts, for which no veto speaks; those that differ in their way of asking alone are the same."""
        return framed_score(asked, stored, self.score(features))

    def reasons(self, features: Sequence[float], n: int = 3) -> list[Reason]:
        """Return the `n` features that moved the score most, each set back to neutral on its own."""
        leaves = [_leaf(tree, features) for tree in self._trees]
        found = []
        for index, (name, value, neutral) in enumerate(zip(FEATURES, features, self._neutral, strict=True)):
            if value != neutral:
                without = [*features[:index], neutral, *features[index + 1 :]]
                effect = sum(leaves[place] - _leaf(self._trees[place], without) for place in self._asking[index])
                found.append(Reason(name, value, effect))
        found.sort(key=lambda reason: -abs(reason.effect))
        return found[:n]

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
    return float(written)
