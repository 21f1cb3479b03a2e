"""Rows of features for pairs, out-of-fold scores, and shares of hits and of false hits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.vetoes import question_veto
from training.embedding import VectorCache
from training.fit import fit, fit_beside
from training.pairs import Pair

Floats = np.ndarray[Any, np.dtype[np.float64]]


def rows_of(pairs: Sequence[Pair], cache: VectorCache) -> Floats:
    """Return the features of each pair, as the tier computes them; the margin is left out (0)."""
    cache.add(text for pair in pairs for text in (pair.stored, pair.asked))
    rows = [
        pair_features(analyse(pair.asked), analyse(pair.stored), cache.cosine(pair.stored, pair.asked), 0.0)
        for pair in pairs
    ]
    return np.array(rows)


def gates_of(pairs: Sequence[Pair]) -> Floats:
    """Return per pair 1 where the normalised form or its frame answers, -1 where a veto does, 0 where the score decides."""
    gates = []
    for pair in pairs:
        if normalised(pair.asked) == normalised(pair.stored):
            gates.append(1.0)
        else:
            asked, stored = analyse(pair.asked), analyse(pair.stored)
            gates.append(-1.0 if question_veto(asked, stored) else float(asked.framed == stored.framed))
    return np.array(gates)


def gated(scores: Floats, gates: Floats) -> Floats:
    """Return scores as the tier acts on them: 1 for the normalised form, 0 for a veto."""
    return np.where(gates > 0, 1.0, np.where(gates < 0, 0.0, scores))


def folds_of(pairs: Sequence[Pair], count: int, seed: int = 11) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a fold per pair; all pairs of a group are in one."""
    groups = sorted({pair.group for pair in pairs})
    random.Random(seed).shuffle(groups)
    fold_of = {group: index % count for index, group in enumerate(groups)}
    return np.array([fold_of[pair.group] for pair in pairs])


def networks_out_of_fold(pairs: Sequence[Pair], rows: Floats, *, count: int = 4) -> list[dict[str, Any]]:
    """Return for each fold the networks that saw nothing of it."""
    labels, weights = labels_and_weights(pairs)
    return [
        fit_beside(rows[out], labels[out], weights[out]) for out in (folds_of(pairs, count) != n for n in range(count))
    ]


def log_odds_out_of_fold(pairs: Sequence[Pair], rows: Floats, networks: Sequence[dict[str, Any]]) -> Floats:
    """Return for each pair the log-odds by a model that saw nothing of its group; `networks` are those of each fold."""
    labels, weights = labels_and_weights(pairs)
    folds = folds_of(pairs, len(networks))
    log_odds = np.zeros(len(pairs))
    for fold, beside in enumerate(networks):
        inside = folds == fold
        log_odds[inside] = fit(rows[~inside], labels[~inside], weights[~inside], beside).log_odds(rows[inside])
    return log_odds


def labels_and_weights(pairs: Sequence[Pair]) -> tuple[Floats, Floats]:
    """Return 1 for each pair that one answer serves and 0 for the others, and what each counts."""
    return np.array([pair.is_same for pair in pairs], float), np.array([pair.weight for pair in pairs])


def shares(scores: Floats, labels: Floats, threshold: float) -> tuple[float, float]:
    """Return the share of equivalent pairs served, and of the others."""
    served = scores >= threshold
    return float(served[labels == 1].mean()) if (labels == 1).any() else 0.0, float(served[labels == 0].mean()) if (
        labels == 0
    ).any() else 0.0
