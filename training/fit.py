"""Fit the verifier's trees with LightGBM, and write them as the model file reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES, pair_features
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import FORMAT

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
#: An untouched pair: the same words, a cosine as high as that of near repeats.
NEUTRAL: Final = pair_features(
    analyse("how do i sort a list in python"), analyse("how do i sort a list in python"), 0.97, 0.0
)


def fit(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, *, trees: int = TREES) -> lightgbm.Booster:
    """Return the trees for rows of features, labels 0/1 and weights."""
    parameters = PARAMETERS | {"monotone_constraints": [DIRECTION_OF[name] for name in FEATURES]}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, labels, weight=weights), trees)


def document(booster: lightgbm.Booster, version: str, thresholds: dict[str, float]) -> dict[str, Any]:
    """Return the model as the file holds it."""
    trees = [_node(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    return {
        "format": FORMAT, "version": version, "thresholds": thresholds, "features": list(FEATURES),
        "neutral": NEUTRAL, "trees": trees,
    }  # fmt: skip


def write(model: dict[str, Any], path: Path) -> None:
    """Write a model, one tree a line."""
    head = {name: value for name, value in model.items() if name != "trees"}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    trees = ",\n  ".join(json.dumps(tree, separators=(",", ":")) for tree in model["trees"])
    path.write_text("{\n" + "\n".join(lines) + f'\n "trees": [\n  {trees}\n ]\n}}\n', encoding="utf-8")


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
