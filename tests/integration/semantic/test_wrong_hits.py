"""C17: wrong hits by the shipped embedder and verifier, at the mode `safe`: near misses of eight kinds, and paraphrases beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.index.port import COSINE_MIN, Neighbour
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.gateway.semantic.looking import judge
from tests.support.near_misses import Pair, near_misses, paraphrases
from tests.support.reliability import record
from tests.support.semantic_models import models_folder
from tests.support.tiers import count

Scorer = Callable[[Pair], float]


@pytest.fixture(scope="module")
def score() -> Scorer:
    model, verifier, settings = MinilmModel(models_folder()), load_verifier(), SemanticSettings()
    model.load()

    def of(pair: Pair) -> float:
        """Return the score of a pair (stored, asked) as a look-up would, 0 where it would find nothing near."""
        stored, asked = pair
        if normalised(stored) == normalised(asked):
            return 1.0
        cosine = float(model.embed_one(stored) @ model.embed_one(asked))
        if cosine < COSINE_MIN:
            return 0.0
        (candidate,) = judge(analyse(asked), [Neighbour(bytes(32), cosine, stored, "", 0.0)], settings, verifier)
        return candidate.score

    return of


def test_near_misses_are_not_served_and_paraphrases_are(score: Scorer) -> None:
    threshold = load_verifier().safe_threshold
    misses = {kind: _some(pairs, count(8, 50)) for kind, pairs in near_misses().items()}
    alike = _some(paraphrases(), count(64, 400))
    wrong = {kind: sum(score(pair) >= threshold for pair in pairs) for kind, pairs in misses.items()}
    right = sum(score(pair) >= threshold for pair in alike)
    tried = sum(map(len, misses.values()))
    assert sum(wrong.values()) <= 0.01 * tried, wrong
    # Without hits there is nothing to be right about: these differ in the asking only.
    assert right >= 0.75 * len(alike)
    record(
        "C17",
        near_misses=tried,
        false_percent=round(100 * sum(wrong.values()) / tried, 2),
        paraphrases=len(alike),
        hit_percent=round(100 * right / len(alike), 1),
        precision_percent=round(100 * right / (right + sum(wrong.values())), 1),
    )


def _some(pairs: Sequence[Pair], wanted: int) -> list[Pair]:
    """Return so many, spread over all."""
    return [pairs[at * len(pairs) // wanted] for at in range(wanted)]
