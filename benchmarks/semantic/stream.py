"""The controller on a stream of questions whose classes say which answers are the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agentcache.engine.semantic.controller import Judgement, learn
from agentcache.engine.semantic.index.port import COSINE_MIN, NEIGHBOURS, Neighbour
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.pieces import projection
from agentcache.engine.semantic.risk_control import Compared, learn_rule
from agentcache.engine.semantic.risk_rule import RiskRule
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings, threshold_in_force
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import Verifier
from agentcache.gateway.semantic.looking import Candidate, judge
from training.embedding import VectorCache

SHADOW_SHARE = 0.05
LEARN_EVERY = 50
#: What the tier compares of what was not served, if it may not be opened: from this score on.
COMPARED_FROM = 0.5
#: As many judgements as the control plane learns from.
JUDGEMENTS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a stream."""

    queries: int
    hits: int
    wrong: int
    rule: RiskRule | None

    @property
    def told(self) -> tuple[str, str, str]:
        """Return hits, wrong ones of hits and the last limit of the risk, for a table."""
        return (
            f"{100 * self.hits / self.queries:.1f}",
            f"{100 * self.wrong / max(1, self.hits):.2f}",
            "–" if self.rule is None else f"{100 * self.rule.limit:.1f} %",
        )


def run(
    questions: Sequence[tuple[str, str]], cache: VectorCache, verifier: Verifier, *, target: float, seed: int
) -> Outcome:
    """Play the stream in an order of its own, as a namespace in the mode `balanced`; rows of the index are never forgotten."""
    chance = random.Random(seed)
    order = list(questions)
    chance.shuffle(order)
    vectors = cache.matrix([text for text, _ in order])
    kept = _kept([text for text, _ in order], cache)
    matrix = np.zeros((len(order), vectors.shape[1]), np.float32)
    stored: list[int] = []
    forms: dict[str, int] = {}
    repeats: dict[int, bytes] = {}
    namespace = _Namespace(verifier, target)
    hits = wrong = 0
    for index, (text, of) in enumerate(order):
        form = normalised(text)
        same = forms.get(form)
        if same is not None:
            hits += 1
            wrong += order[same][1] != of
            continue
        cosines = matrix[: len(stored)] @ vectors[index]
        near = [
            Neighbour(
                key=stored[at].to_bytes(4, "big"),
                cosine=float(cosines[at]),
                question=order[stored[at]][0],
                writer="",
                stored_at=0.0,
                pieces=kept[stored[at]],
                repeats=repeats[stored[at]],
            )
            for at in np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
            if cosines[at] >= COSINE_MIN
        ]
        repeats[index] = b""
        best = namespace.best(text, near, kept[index])
        if best is not None:
            agreed = order[int.from_bytes(best.key, "big")][1] == of
            serves = namespace.serves(best)
            if serves and chance.random() >= SHADOW_SHARE:
                hits += 1
                wrong += not agreed
                continue
            namespace.take(best, agreed=agreed, weight=1 / SHADOW_SHARE if serves else 1.0)
            if agreed and namespace.compares(best):
                repeats[index] = best.answer
        matrix[len(stored)] = vectors[index]
        stored.append(index)
        forms[form] = index
    return Outcome(len(order), hits, wrong, namespace.settings.learned_rule)


def _kept(texts: Sequence[str], cache: VectorCache) -> list[bytes]:
    """Return the word pieces of texts as an index keeps them."""
    by = projection()
    if by is None:
        return [b""] * len(texts)
    cache.hidden.add(texts)
    return [by.pack(cache.hidden.of(text)) for text in texts]


@dataclass(slots=True)
class _Namespace:
    """What the gateway does with a near question, and the control plane with what was compared."""

    verifier: Verifier
    target: float
    settings: SemanticSettings = field(default_factory=lambda: SemanticSettings(SemanticMode.BALANCED))
    judgements: list[Judgement] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    learned_from: int = 0

    def best(self, text: str, near: Sequence[Neighbour], pieces: bytes) -> Candidate | None:
        found = judge(analyse(text), near, self.settings, self.verifier, self.settings.learned_rule, pieces)
        return found[0] if found and not found[0].veto else None

    def serves(self, one: Candidate) -> bool:
        verifier, rule = self.verifier, self.settings.learned_rule
        threshold = threshold_in_force(
            self.settings, safe=verifier.safe_threshold, balanced=verifier.balanced_threshold
        )
        if one.score < threshold:
            return False
        if rule is None:
            return True
        return rule.admits(one.signals) and (one.may_open(verifier) or not rule.opens)

    def compares(self, one: Candidate) -> bool:
        return one.may_open(self.verifier) or one.score >= min(COMPARED_FROM, self.verifier.balanced_threshold)

    def take(self, one: Candidate, *, agreed: bool, weight: float) -> None:
        self.judgements.append(Judgement(one.score, agreed, weight))
        if one.may_open(self.verifier):
            self.compared.append(Compared(one.signals, agreed, weight))
        if len(self.judgements) - self.learned_from >= LEARN_EVERY:
            self._learn()

    def _learn(self) -> None:
        verifier = self.verifier
        self.learned_from = len(self.judgements)
        threshold = learn(
            self.judgements[-JUDGEMENTS_MAX:],
            target=self.target,
            floor=verifier.balanced_threshold,
            start=verifier.safe_threshold,
        )
        allowed = learn_rule(self.compared[: -JUDGEMENTS_MAX - 1 : -1], self.target)
        self.settings = SemanticSettings(
            SemanticMode.BALANCED,
            target=self.target,
            learned_threshold=threshold,
            learned_rule=allowed.rule if allowed is not None else None,
        )
