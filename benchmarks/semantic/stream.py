"""The controller on a stream of questions whose classes say which answers are the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentcache.engine.semantic.controller import Judgement, learn
from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import Verifier
from agentcache.engine.semantic.vetoes import veto
from training.embedding import VectorCache

COSINE_MIN = 0.60
SHADOW_SHARE = 0.05
LEARN_EVERY = 50
#: As many as the tier judges.
NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a stream."""

    queries: int
    hits: int
    wrong: int
    threshold: float

    @property
    def told(self) -> tuple[str, str, str]:
        """Return hits, wrong ones of hits and the last threshold, for a table."""
        return (
            f"{100 * self.hits / self.queries:.1f}",
            f"{100 * self.wrong / max(1, self.hits):.2f}",
            f"{self.threshold:.3f}",
        )


def run(
    questions: Sequence[tuple[str, str]],
    cache: VectorCache,
    verifier: Verifier,
    *,
    target: float,
    floor: float,
    seed: int,
) -> Outcome:
    """Play the stream in an order of its own; the threshold starts at the safe one and moves with the evidence."""
    rng = random.Random(seed)
    order = list(questions)
    rng.shuffle(order)
    vectors = cache.matrix([text for text, _ in order])
    stored: list[int] = []
    matrix = np.zeros((len(order), vectors.shape[1]), np.float32)
    forms: dict[str, int] = {}
    evidence: list[Judgement] = []
    threshold, hits, wrong, learned_at = verifier.safe_threshold, 0, 0, 0
    for index, (text, of) in enumerate(order):
        form = normalised(text)
        score, found = 0.0, forms.get(form)
        if found is not None:
            hits += 1
            wrong += order[found][1] != of
            continue
        if stored:
            cosines = matrix[: len(stored)] @ vectors[index]
            nearest = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
            scores = [_score(verifier, text, order[stored[at]][0], float(cosines[at])) for at in nearest]
            best = int(np.argmax(scores))
            found, score = stored[nearest[best]], scores[best]
        if found is not None and score > 0:
            agreed = order[found][1] == of
            if score >= threshold and rng.random() >= SHADOW_SHARE:
                hits += 1
                wrong += not agreed
                continue
            evidence.append(Judgement(score, agreed, 1 / SHADOW_SHARE if score >= threshold else 1.0))
        matrix[len(stored)] = vectors[index]
        stored.append(index)
        forms[form] = index
        if len(evidence) - learned_at >= LEARN_EVERY:
            learned_at = len(evidence)
            start = verifier.safe_threshold
            found_threshold = learn(evidence, target=target, floor=floor, start=start)
            threshold = start if found_threshold is None else found_threshold
    return Outcome(len(order), hits, wrong, threshold)


def _score(verifier: Verifier, asked: str, stored: str, cosine: float) -> float:
    if cosine < COSINE_MIN:
        return 0.0
    ours, theirs = analyse(asked), analyse(stored)
    return 0.0 if veto(ours, theirs) else verifier.judge(ours, theirs, pair_features(ours, theirs, cosine, 0.0))
