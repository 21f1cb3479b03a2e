"""Fit the verifier: trees by LightGBM and networks beside them, and write both as the model file reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES, LIKENESS, pair_features
from agentcache.engine.semantic.interaction import INTERACTION
from agentcache.engine.semantic.networks import Networks
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import FORMAT, PLACED_FEATURES
from training.networks import fit_networks

PARAMETERS: Final[dict[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 24,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "monotone_constraints_method": "intermediate",
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
TREES: Final = 400
#: What the networks count; the trees count the rest.
NETWORKS_SHARE: Final = 0.3
#: What the cosine counts beside the trees, in log-odds for 1 of cosine, where it counts nothing, and from where on no more. Most pairs are
#: made by rule, and between those a cosine tells less than between people's own questions: the trees learn to trust it too little. Near 1
#: it tells nothing: there are the prompts in which a word was changed, more than those that say the same in other words.
COSINE_WEIGHT: Final = 22.0
COSINE_PIVOT: Final = 0.9
COSINE_CEILING: Final = 0.94
#: An untouched pair: the same words, a cosine as high as that of near repeats.
NEUTRAL: Final = pair_features(
    analyse("how do i sort a list in python"), analyse("how do i sort a list in python"), 0.97, 0.0
)


#: The directions of the values of a row: of a pair's features, and where there are more, of what its pieces say.
DIRECTIONS: Final = (*DIRECTION_OF.values(), *INTERACTION.values())


@dataclass(frozen=True, slots=True)
class Model:
    """Trees, and networks that were fitted to the same pairs: those of the texts alone, also where the trees know the pieces."""

    trees: lightgbm.Booster
    #: As `fit_networks` returns them.
    networks: dict[str, Any]

    def log_odds(self, rows: np.ndarray) -> np.ndarray:
        """Return what both say of rows of features, without what the cosine counts beside them."""
        smooth = np.array(Networks(self.networks).log_odds(rows))
        return (1 - NETWORKS_SHARE) * self.trees.predict(rows, raw_score=True) + NETWORKS_SHARE * smooth

    @property
    def written_trees(self) -> list[Any]:
        """The trees as the model file has them."""
        return [_node(tree["tree_structure"]) for tree in self.trees.dump_model()["tree_info"]]


def fit(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, networks: dict[str, Any]) -> Model:
    """Return the model for rows of features (and of `INTERACTION` behind them), labels 0/1, weights, and fitted networks."""
    parameters = PARAMETERS | {"monotone_constraints": list(DIRECTIONS[: rows.shape[1]])}
    return Model(lightgbm.train(parameters, lightgbm.Dataset(rows, labels, weight=weights), TREES), networks)


def fit_beside(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Return the networks that stand beside the trees, for rows of features, labels 0/1 and weights."""
    free = [0 if name in LIKENESS else direction for name, direction in DIRECTION_OF.items()]
    return fit_networks(rows, labels, weights, free)


def scores_of(log_odds: np.ndarray, rows: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Return the scores of rows of features with these log-odds by a `Model`, as the model file gives them."""
    cosines = np.minimum(rows[:, FEATURES.index("cosine")], COSINE_CEILING)
    return 1 / (1 + np.exp(-log_odds - shift - COSINE_WEIGHT * (cosines - COSINE_PIVOT)))


def document(model: Model, version: str, thresholds: dict[str, float]) -> dict[str, Any]:
    """Return the model as the file holds it, without what is for pairs whose pieces are known."""
    return {
        "format": FORMAT, "version": version, "thresholds": thresholds, "features": list(FEATURES),
        "neutral": NEUTRAL, "cosine": {"weight": COSINE_WEIGHT, "pivot": COSINE_PIVOT, "ceiling": COSINE_CEILING},
        "networks": {"share": NETWORKS_SHARE, **model.networks}, "trees": model.written_trees,
    }  # fmt: skip


def placed_document(model: Model, shift: float) -> dict[str, Any]:
    """Return the part of the file for pairs whose pieces are known."""
    return {
        "features": list(PLACED_FEATURES), "neutral": [*NEUTRAL, *[0.0] * len(INTERACTION)], "shift": round(shift, 4),
        "trees": model.written_trees,
    }  # fmt: skip


def write(model: dict[str, Any], path: Path) -> None:
    """Write a model, one tree a line."""
    path.write_text(_written(model, "") + "\n", encoding="utf-8")


def _written(model: dict[str, Any], indent: str) -> str:
    parts = []
    for name, value in model.items():
        if name == "trees":
            trees = f",\n{indent}  ".join(json.dumps(tree, separators=(",", ":")) for tree in value)
            parts.append(f'{indent} "trees": [\n{indent}  {trees}\n{indent} ]')
        elif isinstance(value, dict) and "trees" in value:
            parts.append(f"{indent} {json.dumps(name)}: {_written(value, f'{indent} ').lstrip()}")
        else:
            parts.append(f"{indent} {json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}")
    return f"{indent}{{\n" + ",\n".join(parts) + f"\n{indent}}}"


def _node(node: dict[str, Any]) -> list[Any] | float:
    if "leaf_value" in node:
        return float(f"{node['leaf_value']:.5g}")
    # Nothing is missing in our rows, and all features are numbers: the only decision is `<=`.
    threshold = float(f"{node['threshold']:.6g}")
    return [node["split_feature"], threshold, _node(node["left_child"]), _node(node["right_child"])]


def threshold_for(scores: Sequence[float], false_share_max: float) -> float:
    """Return the lowest score above which at most this share of non-equivalent pairs lies."""
    ordered = np.sort(np.asarray(scores))[::-1]
    allowed = int(false_share_max * len(ordered))
    return float(min(0.9999, ordered[min(allowed, len(ordered) - 1)] + 1e-6))
