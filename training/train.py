"""Train the verifier and write its model file and card: `make train-verifier`.

Development data is read from `--data` where there is such a folder; without it the model is fitted to our own pairs alone.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.card import write_card
from training.collecting import all_pairs
from training.embedding import VectorCache
from training.fit import Model, document, fit, fit_beside, placed_document, scores_of, threshold_for, write
from training.judging import (
    Floats,
    gated,
    gates_of,
    labels_and_weights,
    log_odds_out_of_fold,
    networks_out_of_fold,
    rows_of,
    shares,
)
from training.pairs import Pair
from training.pieces import pieces_out_of_fold
from training.words import write_word_vectors

ROOT: Final = Path(__file__).parent.parent
MODEL_FOLDER: Final = ROOT / "src/agentcache/engine/semantic/model"
DATA: Final = ROOT.parent / "shared/data/semantic"
#: The sets that thresholds are set on: near misses of every kind, each scored by a model that did not see its intent or test.
ADVERSARIAL: Final = (("own", "synth"), ("perturbed",), ("checklist",), ("planted",))
#: Share of the traps of any one set that may be served, or an easy set would pay for a hard one: at the safe threshold, and at
#: the balanced one, down to which evidence may lead.
SAFE_SHARE: Final = 0.0095
BALANCED_SHARE: Final = 0.10


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect pairs, score them out of fold, set thresholds, fit the whole, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--work", type=Path, default=ROOT / "build/semantic", help="folder for vectors")
    parser.add_argument("--version", default="2026-11-28.5", help="what the model is called")
    parser.add_argument("--words", action="store_true", help="make the vectors of single words anew first")
    options = parser.parse_args(arguments)
    cache = VectorCache(options.work)
    if options.words:
        print(write_word_vectors(cache, options.work), "words")
    pairs = all_pairs(options.data, cache)
    if not options.data.is_dir():
        print(f"no development data in {options.data}: our own pairs only")
    print(len(pairs), "pairs:", dict(Counter(pair.source for pair in pairs)), flush=True)
    rows, gates = rows_of(pairs, cache), gates_of(pairs)
    networks = [*networks_out_of_fold(pairs, rows), fit_beside(rows, *labels_and_weights(pairs))]
    whole = Fitted.of(pairs, rows, gates, networks)
    pieces, projection = pieces_out_of_fold(pairs, whole.log_odds, cache.hidden)
    placed = Fitted.of(pairs, np.concatenate([rows, pieces], axis=1), gates, networks)
    # One pair of thresholds for both: that of the model for texts alone, to which the others' log-odds are moved.
    shift = _log_odds(whole.thresholds["safe"]) - _log_odds(placed.thresholds["safe"])
    moved = 1 / (1 + math.exp(-_log_odds(placed.thresholds["balanced"]) - shift))
    thresholds = whole.thresholds | {"balanced": max(whole.thresholds["balanced"], round(moved, 4))}
    written = document(whole.model, options.version, thresholds)
    written["placed"] = placed_document(placed.model, shift)
    (MODEL_FOLDER / "pieces.f16").write_bytes(projection)
    write(written, MODEL_FOLDER / "verifier.json")
    labels, _ = labels_and_weights(pairs)
    print("by texts alone:")
    figures = report(pairs, whole.scores, labels, whole.thresholds["safe"])
    print("with pieces:")
    placed_figures = report(pairs, placed.scores, labels, placed.thresholds["safe"])
    write_card(
        MODEL_FOLDER / "card.md", options.version, pairs, thresholds, figures, placed_figures, whole.model.trees
    )  # fmt: skip
    print(thresholds)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model for all pairs, and what others, that saw nothing of a pair's intent, test or class, say of it."""

    #: Log-odds and scores, out of fold.
    log_odds: Floats
    scores: Floats
    thresholds: dict[str, float]
    model: Model

    @classmethod
    def of(cls, pairs: Sequence[Pair], rows: Floats, gates: Floats, networks: Sequence[dict[str, Any]]) -> Fitted:
        """Return them for these rows of features, and networks of each fold and of the whole."""
        labels, weights = labels_and_weights(pairs)
        found = log_odds_out_of_fold(pairs, rows, networks[:-1])
        scores = gated(scores_of(found, rows), gates)
        sources = np.array([pair.source for pair in pairs])
        traps = [scores[np.isin(sources, of) & (labels == 0)] for of in ADVERSARIAL]
        thresholds = {
            name: round(max(threshold_for(of, share) for of in traps if len(of)), 4)
            for name, share in (("safe", SAFE_SHARE), ("balanced", BALANCED_SHARE))
        }
        return cls(found, scores, thresholds, fit(rows, labels, weights, networks[-1]))


def _log_odds(share: float) -> float:
    """Return the logarithm of the odds."""
    return math.log(share / (1 - share))


def report(
    pairs: Sequence[Pair], scores: Floats, labels: Floats, threshold: float
) -> list[tuple[str, str, int, float]]:
    """Print and return, per source and kind, how many there are and which percentage is served; out of fold."""
    found = []
    names = sorted(
        {
            (pair.source, pair.kind if pair.source != "checklist" else pair.kind.split(":")[0], pair.is_same)
            for pair in pairs
        }
    )
    for source, kind, is_same in names:
        inside = np.array([
            pair.source == source and pair.is_same == is_same and (pair.kind == kind or pair.kind.startswith(f"{kind}:")) for pair in pairs
        ])  # fmt: skip
        served, _ = shares(scores[inside], np.ones(int(inside.sum())), threshold)
        found.append((source, f"{kind} ({'same' if is_same else 'trap'})", int(inside.sum()), 100 * served))
        print(f"{found[-1][0]:14} {found[-1][1]:34} {found[-1][2]:6d} {found[-1][3]:6.2f} % served", flush=True)
    return found


if __name__ == "__main__":
    main()
