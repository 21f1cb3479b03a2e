"""The sets that are measured, scored by models that saw nothing of what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agentcache.engine.semantic.pieces import projection
from agentcache.engine.semantic.verifier import Verifier, load_verifier
from benchmarks.semantic.measuring import Floats
from training.collecting import all_pairs
from training.embedding import VectorCache
from training.fit import scores_of
from training.judging import gated, gates_of, log_odds_out_of_fold, networks_out_of_fold, rows_of
from training.pairs import Pair, is_quora, shared_pairs
from training.pieces import pieces_of, pieces_out_of_fold

HELD_OUT = Path(__file__).with_name("held_out.txt")


@dataclass(frozen=True, slots=True)
class Scored:
    """Pairs of one set with their truths, their cosines and the verifier's scores after normalising and vetoes."""

    name: str
    pairs: list[Pair]
    labels: Floats
    cosines: Floats
    scores: Floats

    def only(self, name: str, inside: Floats) -> Scored:
        """Return a part of the set."""
        pairs = [pair for pair, keep in zip(self.pairs, inside, strict=True) if keep]
        return Scored(name, pairs, self.labels[inside], self.cosines[inside], self.scores[inside])


def trained_sets(data: Path, cache: VectorCache) -> list[Scored]:
    """Return the sets that the verifier is trained on, scored out of fold: no model saw the intent, test or class."""
    pairs = all_pairs(data, cache)
    rows = rows_of(pairs, cache)
    networks = networks_out_of_fold(pairs, rows)
    pieces, _ = pieces_out_of_fold(pairs, log_odds_out_of_fold(pairs, rows, networks), cache.hidden)
    rows = np.concatenate([rows, pieces], axis=1)
    scores = scores_of(log_odds_out_of_fold(pairs, rows, networks), rows, _shift())
    whole = _scored("all", pairs, rows, scores)
    names = {
        "own generator, unseen intents": ("own", "synth"),
        "CheckList, unseen tests": ("checklist",),
        "real prompts rewritten by rule": ("perturbed",),
    }
    sources = np.array([pair.source for pair in pairs])
    return [whole.only(name, np.isin(sources, of)) for name, of in names.items()]


def _shift() -> float:
    placed = load_verifier().placed
    assert placed is not None, "this release judges by word pieces"
    return placed.shift


def held_out_pairs() -> list[Pair]:
    """Return near misses and rewordings of our own that no training reads: swapped words, rewrites, natural rewordings."""
    found = []
    for line in HELD_OUT.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            kind, truth, stored, asked = line.split(" | ")
            found.append(Pair(stored, asked, truth == "same", kind, f"held-out/{kind}", "held-out"))
    return found


def held_out_set(cache: VectorCache, verifier: Verifier) -> Scored:
    """Return `held_out_pairs`, scored by the model that ships."""
    return _scored_by(verifier, "held out: our own near misses and rewordings", held_out_pairs(), cache)


def other_sets(data: Path, cache: VectorCache, verifier: Verifier) -> list[Scored]:
    """Return the sets of others that the verifier never saw, scored by the model that ships."""
    found = []
    quora = shared_pairs(data, "qqp_dev")
    checklist = [pair for pair in shared_pairs(data, "checklist_dev") if is_quora(pair)]
    mock, cai = shared_pairs(data, "gptcache_mock_dev"), shared_pairs(data, "cai_dev")
    unseen = mock[len(mock) // 2 :] + cai[len(cai) // 2 :]
    sets = {
        "Quora pairs": quora,
        "CheckList, names and places changed": checklist,
        "paraphrases (GPTCache mock and CAI)": unseen,
    }
    for name, pairs in sets.items():
        if pairs:
            found.append(_scored_by(verifier, name, pairs, cache))
    return found


def _scored_by(verifier: Verifier, name: str, pairs: list[Pair], cache: VectorCache) -> Scored:
    by = projection()
    assert by is not None and verifier.placed is not None, "this release judges by word pieces"
    rows = np.concatenate([rows_of(pairs, cache), pieces_of(pairs, cache.hidden, by)], axis=1)
    return _scored(name, pairs, rows, np.array([verifier.score(list(values)) for values in rows]))


def _scored(name: str, pairs: Sequence[Pair], rows: Floats, scores: Floats) -> Scored:
    labels = np.array([pair.is_same for pair in pairs], float)
    return Scored(name, list(pairs), labels, rows[:, 0], gated(scores, gates_of(pairs)))
