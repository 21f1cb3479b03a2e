"""What the verifier serves by other embedders, with their cosines as they are and as they are calibrated: `--only-embedders`.

Pairs of the generator, of CheckList and of prompts that were rewritten by rule are judged by models that saw nothing of their intent,
test or class, those that were held out by the one that ships; all by texts alone, for other embedders give no word pieces. Of the
generator the intents that embedders are calibrated by are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from agentcache.engine.semantic.calibration.fitting import Agreement, fit_scale, why_unfit
from agentcache.engine.semantic.calibration.pairs import load_pairs
from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.verifier import Verifier, load_verifier
from benchmarks.semantic.embedders import all_embedders
from benchmarks.semantic.measuring import Floats, share
from benchmarks.semantic.sets import held_out_pairs
from training.calibration import chosen_intents
from training.collecting import all_pairs
from training.embedding import VectorCache
from training.fit import Model, fit, fit_beside, scores_of
from training.judging import folds_of, gated, gates_of, labels_and_weights, rows_of
from training.pairs import Pair

#: Name, sources, and how many equivalents and others are drawn at most.
SETS: Final = (
    ("own generator", ("own", "synth"), 2500, 5500),
    ("CheckList", ("checklist",), 1200, 3000),
    ("rewritten", ("perturbed",), 1000, 2500),
)
HELD_OUT: Final = "held out"
_FOLDS: Final = 4
_COSINE: Final = FEATURES.index("cosine")


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Pairs of one set, their features with the built-in cosine, and what says their score for other rows of these features."""

    name: str
    pairs: Sequence[Pair]
    rows: Floats
    judge: Callable[[Floats], Floats]

    def served(self, cosines: Floats, threshold: float) -> tuple[Floats, Floats]:
        """Return of the equivalents and of the others whether each is served, for these cosines."""
        rows = self.rows.copy()
        rows[:, _COSINE] = cosines
        served, is_same = self.judge(rows) >= threshold, np.array([pair.is_same for pair in self.pairs])
        return served[is_same], served[~is_same]


def run(data: Path, cache: VectorCache, models: Path | None) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: embedder, how its cosines are read, and per set hits and false hits in percent."""
    sets, verifier, chosen = judged_sets(data, cache), load_verifier(), load_pairs()
    yield from _measured("MiniLM as it ships", sets, verifier, [one.rows[:, _COSINE] for one in sets], "its own")
    texts = list(
        dict.fromkeys(
            [*chosen.texts, *(text for one in sets for pair in one.pairs for text in (pair.stored, pair.asked))]
        )
    )
    places = {text: place for place, text in enumerate(texts)}
    asked = [([places[p.stored] for p in one.pairs], [places[p.asked] for p in one.pairs]) for one in sets]
    ours = [places[pair.one] for pair in chosen.pairs], [places[pair.other] for pair in chosen.pairs]
    for name, vectors in all_embedders(texts, models):

        def cosines(of: tuple[list[int], list[int]], vectors: Floats = vectors) -> Floats:
            return np.clip(np.einsum("ij,ij->i", vectors[of[0]], vectors[of[1]]), -1, 1)

        yield from rows_of_embedder(name, sets, verifier, cosines(ours), [cosines(of) for of in asked])


def rows_of_embedder(
    name: str, sets: Sequence[JudgedSet], verifier: Verifier, calibrating: Floats, cosines: Sequence[Floats]
) -> Iterator[tuple[str, ...]]:
    """Yield the two rows of an embedder that gives the calibration pairs and those of the sets these cosines."""
    scale, agreement = fit_scale(load_pairs().pairs, [float(one) for one in calibrating])
    yield from _measured(name, sets, verifier, cosines, "as they are")
    read = [np.array([scale.of(float(one)) for one in of]) for of in cosines]
    yield from _measured(_told(agreement), sets, verifier, read, "unfit" if why_unfit(agreement) else "calibrated")


def _told(agreement: Agreement) -> str:
    figures = agreement.over_others, agreement.over_traps, agreement.correlation, agreement.spread
    return " / ".join(f"{figure:.3f}" for figure in figures)


def _measured(
    name: str, sets: Sequence[JudgedSet], verifier: Verifier, cosines: Sequence[Floats], read: str
) -> Iterator[tuple[str, ...]]:
    found = []
    for one, of in zip(sets, cosines, strict=True):
        found += [share(served) for served in one.served(of, verifier.safe_threshold)]
    yield name, read, *found


def judged_sets(data: Path, cache: VectorCache) -> list[JudgedSet]:
    """Return the sets; fits four models, some minutes."""
    pairs = all_pairs(data, cache)
    rows, (labels, weights) = rows_of(pairs, cache), labels_and_weights(pairs)
    folds = folds_of(pairs, _FOLDS)
    models = []
    for fold in range(_FOLDS):
        out = folds != fold
        models.append(fit(rows[out], labels[out], weights[out], fit_beside(rows[out], labels[out], weights[out])))
    found = []
    left_out = {f"own/{intent.name}" for intent, _, _ in chosen_intents()}
    for name, sources, same_max, others_max in SETS:
        inside = [place for place, pair in enumerate(pairs) if pair.source in sources and pair.group not in left_out]
        drawn = _drawn(inside, labels, same_max, others_max)
        some = [pairs[place] for place in drawn]
        found.append(JudgedSet(name, some, rows[drawn], _judge_of(models, folds[drawn], gates_of(some))))
    held_out, verifier = held_out_pairs(), load_verifier()
    gates = gates_of(held_out)

    def judge(of: Floats) -> Floats:
        return gated(np.array(verifier.scores(of.tolist())), gates)

    return [*found, JudgedSet(HELD_OUT, held_out, rows_of(held_out, cache), judge)]


def _judge_of(models: Sequence[Model], folds: Floats, gates: Floats) -> Callable[[Floats], Floats]:
    def judge(rows: Floats) -> Floats:
        log_odds = np.zeros(len(rows))
        for fold, model in enumerate(models):
            inside = folds == fold
            log_odds[inside] = model.log_odds(rows[inside])
        return gated(scores_of(log_odds, rows), gates)

    return judge


def _drawn(places: Sequence[int], labels: Floats, same_max: int, others_max: int) -> list[int]:
    rng, found = random.Random(4), []
    for label, most in ((1, same_max), (0, others_max)):
        of = [place for place in places if labels[place] == label]
        found += rng.sample(of, min(most, len(of)))
    return sorted(found)
