"""What a pair of prompts comes to, without any cache: for the playground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentcache.engine.semantic.alignment import ALIGNMENT
from agentcache.engine.semantic.eligibility import unfit
from agentcache.engine.semantic.features import FEATURES, pair_features
from agentcache.engine.semantic.interaction import kept_interaction
from agentcache.engine.semantic.risk_rule import may_open, signals_of, trap_in
from agentcache.engine.semantic.settings import (
    COSINE_THRESHOLD,
    OFF,
    SemanticSettings,
    rule_in_force,
    threshold_in_force,
)
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import PLACED_FEATURES, load_verifier
from agentcache.engine.semantic.vetoes import question_veto
from agentcache.engine.semantic.word_vectors import word_vectors
from agentcache.semantics.errors import InvalidSemantics
from agentcache.semantics.measuring import measure

PROMPT_CHARS_MAX: Final = 4_000
#: Known only where there is an embedder.
_OF_COSINE: Final = frozenset({"cosine", "margin"})
#: Known only where words have vectors: else these are what they are of the same words.
_OF_WORD_VECTORS: Final = frozenset(ALIGNMENT)


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One difference between the prompts, and by how much log-odds it moved the score; None where there is no score."""

    name: str
    value: float
    effect: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is known of a pair. Without an embedder there is neither cosine nor score."""

    #: Normal forms; equal ones have one answer, whatever the score.
    asked_normal: str
    stored_normal: str
    #: Why a prompt is not looked up at all; None where it is.
    asked_left_out: str | None
    stored_left_out: str | None
    veto: str | None
    cosine: float | None
    score: float | None
    safe_threshold: float
    balanced_threshold: float
    cosine_threshold: float
    #: Version of the model that gives the score.
    verifier: str
    #: Model of the vectors; "" without one.
    embedder: str
    #: What moved the score most first.
    features: Sequence[FeatureValue]
    #: Why there is no cosine, or why nothing is served by it; "" where there is one that is served by.
    problem: str
    #: A difference that no evidence opens below the balanced threshold; "" for none.
    trap: str = ""
    #: How likely the pair is to want two answers by the evidence of the namespace, and up to what it serves; null without a rule.
    risk: float | None = None
    risk_limit: float | None = None
    #: Least score that the namespace serves beside that; the floor under the risk where the rule `is_opened`.
    threshold: float | None = None
    is_opened: bool = False
    #: Whether evidence may decide on the pair.
    may_open: bool = False

    @property
    def is_same(self) -> bool:
        """Whether both have one normal form."""
        return self.asked_normal == self.stored_normal

    @property
    def verdict(self) -> str:
        """`same`, `left_out`, `vetoed`, `unknown` (for want of an embedder), `hit_safe`, `hit_balanced` or `no_hit`.

        By the evidence of a namespace: `hit_risk`, `trapped` or `risky` in place of the last three. What would be a hit is `held`
        where nothing is served by the embedder.
        """
        found = self._judged
        return "held" if found.startswith("hit_") and self.problem else found

    @property
    def _judged(self) -> str:
        if self.is_same:
            return "same"
        if self.asked_left_out or self.stored_left_out:
            return "left_out"
        if self.veto is not None:
            return "vetoed"
        if self.score is None:
            return "unknown"
        if self.risk is not None and self.risk_limit is not None and self.threshold is not None:
            is_barred = self.is_opened and not self.may_open
            if is_barred and self.trap:
                return "trapped"
            if is_barred or self.score < self.threshold:
                return "no_hit"
            return "hit_risk" if self.risk <= self.risk_limit else "risky"
        if self.score >= self.safe_threshold:
            return "hit_safe"
        return "hit_balanced" if self.score >= self.balanced_threshold else "no_hit"

    @property
    def is_cosine_hit(self) -> bool | None:
        """Whether the plain rule, one cosine against one number, would have served the stored answer."""
        return None if self.cosine is None else self.cosine >= self.cosine_threshold


def compare(asked: str, stored: str, settings: SemanticSettings = OFF) -> Comparison:
    """Return what becomes of `asked` where `stored` was answered before, by a namespace's rule where its settings hold one.

    Raises `InvalidSemantics`.
    """
    rule = rule_in_force(settings)
    asked, stored = _checked(asked, "asked"), _checked(stored, "stored")
    ours, theirs = analyse(asked), analyse(stored)
    verifier, measured = load_verifier(), measure(asked, stored)
    left_out = [
        unfit(text, token_count=tokens, is_multilingual=measured.is_multilingual)
        for text, tokens in zip((ours, theirs), measured.token_counts, strict=True)
    ]
    values = pair_features(ours, theirs, measured.cosine or 0.0, 0.0)
    values += kept_interaction(*measured.pieces)
    trap, signals = trap_in(values), None
    if measured.cosine is None:
        score = None
        unknown = _OF_COSINE if word_vectors() is not None else _OF_COSINE | _OF_WORD_VECTORS
        features = [
            FeatureValue(name, value, None) for name, value in zip(FEATURES, values, strict=True) if name not in unknown
        ]
    else:
        score = verifier.judge(ours, theirs, values)
        signals = signals_of(score, measured.cosine, values)
        effects = {reason.feature: reason.effect for reason in verifier.reasons(values, n=len(values))}
        features = [
            FeatureValue(name, value, effects.get(name, 0.0))
            for name, value in zip(PLACED_FEATURES, values, strict=False)
        ]
        features.sort(key=lambda one: -abs(one.effect or 0.0))
    return Comparison(
        asked_normal=ours.normal,
        stored_normal=theirs.normal,
        asked_left_out=left_out[0],
        stored_left_out=left_out[1],
        veto=question_veto(ours, theirs),
        cosine=measured.cosine,
        score=score,
        safe_threshold=verifier.safe_threshold,
        balanced_threshold=verifier.balanced_threshold,
        cosine_threshold=COSINE_THRESHOLD,
        verifier=verifier.version,
        embedder=measured.embedder,
        features=features,
        problem=measured.problem,
        trap=trap,
        risk=rule.weighing.risk(signals) if rule is not None and signals is not None else None,
        risk_limit=rule.limit if rule is not None else None,
        threshold=threshold_in_force(settings, safe=verifier.safe_threshold, balanced=verifier.balanced_threshold),
        is_opened=rule is not None and rule.opens,
        may_open=signals is not None and may_open(signals, trap, balanced=verifier.balanced_threshold),
    )


def _checked(prompt: str, param: str) -> str:
    prompt = prompt.strip()
    if not prompt:
        raise InvalidSemantics(f"{param}: give a prompt.", param=param)
    if len(prompt) > PROMPT_CHARS_MAX:
        raise InvalidSemantics(f"{param}: give at most {PROMPT_CHARS_MAX:,} characters.", param=param)
    return prompt
