"""What a look-up of a near question is about and what it found. Pure: neighbours come in, candidates with a verdict go out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from agentcache.engine.entries import Entry, Tenant
from agentcache.engine.keys import KeyMaterial
from agentcache.engine.semantic.analyses import recall
from agentcache.engine.semantic.calibration.fitting import Scale
from agentcache.engine.semantic.eligibility import seems_unfit, unfit
from agentcache.engine.semantic.embedders.port import Embedder, Vector
from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.index.port import Neighbour
from agentcache.engine.semantic.interaction import kept_interaction, kept_interactions
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.partition import NoQuestion, Question, normal_digest, partition_of, question_of
from agentcache.engine.semantic.risk_rule import RiskRule, may_open, signals_of, trap_in
from agentcache.engine.semantic.settings import (
    NOTHING_ASKED,
    SemanticAsked,
    SemanticMode,
    SemanticSettings,
    mode_in_force,
    rule_in_force,
    threshold_in_force,
)
from agentcache.engine.semantic.texts import Text, analyse
from agentcache.engine.semantic.verifier import PLACED_FEATURES, Verifier, framed_score
from agentcache.engine.semantic.vetoes import question_veto
from agentcache.engine.semantic.weighing import Signals
from agentcache.providers.dialect import Json

#: What gave the score of a candidate with the very normalised form of the question, and what gives it by the plain rule.
NORMALISED: Final = "normalised"
COSINE: Final = "cosine"
REASONS_SHOWN: Final = 3
#: So many of the nearest are judged; those beyond only tell how many near questions have one answer.
JUDGED_MAX: Final = 3
#: In that a neighbour counts by e to the power of so many times its cosine: .1 farther, less than half.
_AGREEMENT_FALL: Final = 8.0


@dataclass(frozen=True, slots=True)
class Asking:
    """A request whose exact answer is not there, as the tier sees it."""

    tenant: Tenant
    settings: SemanticSettings
    endpoint: str
    body: Json
    material: KeyMaterial
    #: Its own cache key: an entry under it is no neighbour.
    key: bytes
    asked: SemanticAsked = NOTHING_ASKED
    max_age: int | None = None

    @property
    def mode(self) -> SemanticMode:
        """The mode in force."""
        return mode_in_force(self.settings, self.asked)

    def threshold(self, verifier: Verifier) -> float:
        """Return from which score on a candidate answers."""
        return threshold_in_force(
            self.settings, self.asked, safe=verifier.safe_threshold, balanced=verifier.balanced_threshold
        )

    @property
    def rule(self) -> RiskRule | None:
        """The rule of risk in force, None where the threshold alone decides."""
        return rule_in_force(self.settings, self.asked)


@dataclass(slots=True)
class Candidate:
    """A neighbour and what speaks for it."""

    key: bytes
    question: str
    #: API key id of who placed the entry; "" where the index does not tell.
    writer: str
    cosine: float
    #: 0 to 1; 0 where a veto came first.
    score: float
    #: What gave the score: the verifier's version, `cosine` or `normalised`.
    verifier: str
    veto: str = ""
    #: The question that was asked, this one, and by how much it is nearer than the next one; None where nothing was compared.
    pair: tuple[Text, Text, float] | None = None
    #: The word pieces of both; empty where there are none.
    pieces: tuple[bytes, bytes] = (b"", b"")
    #: The same for all neighbours that are known to have one answer.
    answer: bytes = b""
    #: Which share of the near questions is known to have its answer, 0 to 1, each by how near it is; None where it is not known.
    agreement: float | None = None
    #: How likely it is to want another answer, 0 to 1, by the namespace's rule; None where none is in force.
    risk: float | None = None
    #: Its entry, once it was fetched and may be served.
    entry: Entry | None = None
    _features: list[float] | None = None

    @property
    def features(self) -> list[float]:
        """What both questions differ in; of one with a veto nobody asks on the way of a call, so that it is worked out late."""
        if self._features is None:
            self._features = [] if self.pair is None else self.measured(kept_interaction(*self.pieces))
        return self._features

    def measured(self, interaction: list[float]) -> list[float]:
        """Take what the word pieces differ in, and return all features."""
        assert self.pair is not None
        self._features = pair_features(*self.pair[:2], self.cosine, self.pair[2]) + interaction
        return self._features

    @property
    def trap(self) -> str:
        """A difference that no evidence opens: such a pair must reach the balanced threshold; "" for none."""
        return trap_in(self.features) if self.features else ""

    @property
    def signals(self) -> Signals:
        """What the rule weighs."""
        return signals_of(self.score, self.cosine, self.features, self.agreement)

    def may_open(self, verifier: Verifier) -> bool:
        """Say whether evidence may decide on it."""
        return not self.veto and may_open(self.signals, self.trap, balanced=verifier.balanced_threshold)

    def named_features(self) -> dict[str, float]:
        """Return feature -> value."""
        return dict(zip(PLACED_FEATURES, self.features, strict=False))

    def reasons(self, verifier: Verifier) -> list[tuple[str, float, float]]:
        """Return (feature, value, effect) of what decided, strongest first."""
        if not self.features or self.verifier in (COSINE, NORMALISED):
            return [(self.verifier, self.cosine, 0.0)]
        found = verifier.reasons(self.features, REASONS_SHOWN)
        return [(reason.feature, reason.value, reason.effect) for reason in found]


@dataclass(slots=True)
class Look:
    """One look-up. Shared by all callers that wait for it, so nobody changes it once it is over."""

    asking: Asking
    #: How it ended, a stable word: see `RESULTS`.
    result: str
    #: Least score that answers; where a rule of risk opens more, the floor under it.
    threshold: float = 0.0
    #: Highest risk that answers; None where the threshold alone decides.
    risk_limit: float | None = None
    #: Whether the rule of risk stands in place of the verifier's thresholds.
    is_opened: bool = False
    question: Question | None = None
    partition: bytes = b""
    normal_digest: bytes = b""
    text: Text | None = None
    vector: Vector | None = None
    #: The question's word pieces, as they are kept beside its vector; empty where the embedder gives none.
    pieces: bytes = b""
    #: Best first.
    candidates: list[Candidate] = field(default_factory=list)
    #: The candidate that may be served, its entry fetched.
    found: Candidate | None = None
    #: Whether the provider is to be asked all the same, so that both answers can be compared.
    is_shadowed: bool = False
    #: Of an embedder that is not the one that ships: how its cosines are read; None for that one.
    scale: Scale | None = None
    #: Why nothing near is served by this embedder, a word of `HELD`; "" where it may be.
    held: str = ""

    @property
    def is_only_compared(self) -> bool:
        """Whether nothing of it is served: by its mode, or because the embedder is not fit for it."""
        return self.asking.mode is SemanticMode.SHADOW or self.held != ""

    def why_not(self, candidate: Candidate, verifier: Verifier) -> str:
        """Return why a candidate does not answer, a word of `RESULTS`; "" where it may."""
        if candidate.veto:
            return "veto"
        is_barred = self.is_opened and not candidate.may_open(verifier)
        if is_barred and candidate.trap:
            return "trap"
        if is_barred or candidate.score < self.threshold:
            return "below"
        if candidate.risk is None or self.risk_limit is None:
            return ""
        return "" if candidate.risk <= self.risk_limit else "risky"


#: result -> what it means, for the reference of the header `X-AgentCache-Semantic` and of the metrics.
RESULTS: Final = {
    "hit": "an answer to a near question was served",
    "shadow": "one would have been served; the provider was asked all the same",
    "below": "the nearest question's score is below the threshold",
    "risky": "by what was compared in the namespace, the nearest question is too likely to want another answer",
    "trap": "the nearest question differs in a way that no evidence allows, such as a negation or an opposite",
    "veto": "the nearest question differs in a number, an id or a literal, or one of the two says far more",
    "none": "nothing near was asked before",
    "unfit": "the request takes no part: its form or its question is of an excluded kind",
    "skipped": "the tier was over its budget, is paused after trouble, or its embedder is not calibrated yet",
    "off": "the namespace or the caller has it off",
    "not_installed": "this server has no embedder",
}

#: What is served by no embedder of which this holds -> what it means.
UNCALIBRATED: Final = "uncalibrated"
UNFIT_EMBEDDER: Final = "unfit-embedder"
HELD: Final = {
    UNCALIBRATED: "the embedder is not calibrated yet, so that its cosines cannot be read",
    UNFIT_EMBEDDER: "the embedder tells like questions from the same ones too badly to be served by",
}


class Unfit(Exception):
    """The question is of an excluded kind; its `reason` is a word of `eligibility.unfit`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def prepare(asking: Asking, embedder: Embedder, verifier: Verifier) -> Look:
    """Take a request apart and analyse its question; a look-up without a `question` is over, and its `result` says why."""
    look = take_apart(asking, embedder, verifier)
    if look.question is not None:
        try:
            take_in(look, embedder)
        except Unfit as wrong:
            return refused(look, wrong)
    return look


def take_apart(asking: Asking, embedder: Embedder, verifier: Verifier) -> Look:
    """Take a request apart, its question not analysed yet; a look-up without a `question` is over, and its `result` says why."""
    rule = asking.rule
    look = Look(asking, "none", threshold=asking.threshold(verifier))
    if rule is not None:
        look.risk_limit, look.is_opened = rule.limit, rule.opens
    question = question_of(
        asking.endpoint, asking.body, asking.material.body, allows_temperature=asking.settings.allows_temperature
    )
    if isinstance(question, NoQuestion):
        look.result = f"unfit:{question.reason}"
        return look
    look.question = question
    look.partition = partition_of(asking.tenant, asking.material, question.rest)
    look.normal_digest = normal_digest(asking.tenant, normalised(question.text))
    return look


def seems_refused(look: Look, embedder: Embedder) -> bool:
    """Tell at a glance whether `take_in` will refuse the question: mostly, not always."""
    assert look.question is not None
    return seems_unfit(look.question.text, **_fitness(look, embedder))


def take_in(look: Look, embedder: Embedder) -> None:
    """Analyse the question, unless that was done; raises `Unfit`."""
    if look.text is not None:
        return
    assert look.question is not None
    text = analyse(look.question.text)
    reason = unfit(text, **_fitness(look, embedder))
    if reason is not None:
        raise Unfit(reason)
    look.text = text


def refused(look: Look, wrong: Unfit) -> Look:
    """Return the look-up of a question that is of an excluded kind: nothing of it is kept."""
    return Look(look.asking, f"unfit:{wrong.reason}", look.threshold, look.risk_limit, look.is_opened)


class _Fitness(TypedDict):
    """What tells beside the words whether a question is fit."""

    token_count: int
    allows_time_bound: bool
    is_multilingual: bool


def _fitness(look: Look, embedder: Embedder) -> _Fitness:
    assert look.question is not None
    return {
        "token_count": embedder.count_tokens(look.question.text),
        "allows_time_bound": look.asking.settings.allows_time_bound,
        "is_multilingual": embedder.is_multilingual,
    }


def judge(
    asked: Text,
    neighbours: Sequence[Neighbour],
    settings: SemanticSettings,
    verifier: Verifier,
    rule: RiskRule | None = None,
    pieces: bytes = b"",
) -> list[Candidate]:
    """Return the nearest neighbours with their verdicts, the best first: by the risk where a rule is in force, else by the score.

    `neighbours` are nearest first; `pieces` are the word pieces of what was asked, if the embedder gave any.
    """
    by_cosine = settings.verifier == COSINE
    agreements = _agreements(neighbours)
    neighbours = neighbours[:JUDGED_MAX]
    texts = [recall(neighbour.question, neighbour.analysis) for neighbour in neighbours]
    margins = [_margin(texts, neighbours), *[0.0] * (len(texts) - 1)] if texts else []
    judged = [
        Candidate(
            key=neighbour.key,
            question=neighbour.question,
            writer=neighbour.writer,
            cosine=neighbour.cosine,
            score=0.0,
            verifier=COSINE if by_cosine else verifier.version,
            veto=question_veto(asked, stored) or "",
            pair=(asked, stored, margin),
            pieces=(pieces, neighbour.pieces),
            answer=neighbour.answer,
            agreement=agreements[neighbour.answer],
        )
        for neighbour, stored, margin in zip(neighbours, texts, margins, strict=True)
    ]
    passed = [(one, stored) for one, stored in zip(judged, texts, strict=True) if not one.veto]
    if by_cosine:
        for one, _ in passed:
            one.score = one.cosine
    else:
        placed = kept_interactions(pieces, [one.pieces[1] for one, _ in passed])
        scores = verifier.scores([one.measured(of) for (one, _), of in zip(passed, placed, strict=True)])
        for (one, stored), score in zip(passed, scores, strict=True):
            one.score = framed_score(asked, stored, score)
    if rule is None:
        judged.sort(key=lambda one: (-one.score, -one.cosine))
        return judged
    for one in judged:
        one.risk = 1.0 if one.veto else rule.weighing.risk(one.signals)
    # What no evidence opens comes last, however near it is.
    judged.sort(key=lambda one: (not one.may_open(verifier), one.risk, -one.score, -one.cosine))
    return judged


def _agreements(neighbours: Sequence[Neighbour]) -> dict[bytes, float]:
    """Return for each answer the share of the neighbours that are known to have it, 0 to 1, each by how near it is."""
    found: dict[bytes, float] = {}
    for one in neighbours:
        found[one.answer] = found.get(one.answer, 0.0) + math.exp(_AGREEMENT_FALL * one.cosine)
    whole = sum(found.values())
    return {answer: share / whole for answer, share in found.items()}


def _margin(texts: Sequence[Text], neighbours: Sequence[Neighbour]) -> float:
    """Return by how much the best neighbour is nearer than the next one that says something else; 0 without one."""
    for text, other in zip(texts[1:], neighbours[1:], strict=True):
        if text.normal != texts[0].normal:
            return neighbours[0].cosine - other.cosine
    return 0.0


def result_of(look: Look, verifier: Verifier) -> str:
    """Say why none of the candidates answers; one that might have, but whose entry may not be served, counts as none."""
    if not look.candidates:
        return "none"
    return look.why_not(look.candidates[0], verifier) or "below"
