"""Candidates and their verdicts, from neighbours that an index could give."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.index.port import Neighbour
from agentcache.engine.semantic.risk_rule import RiskRule
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.semantic.weighing import Weighing
from agentcache.gateway.semantic.looking import JUDGED_MAX, Candidate, Look, judge, result_of

ASKED = analyse("How do I reset my password?")
BY_TREES, BY_COSINE = SemanticSettings(), SemanticSettings(verifier="cosine")


def near(question: str, cosine: float, repeats: str = "") -> Neighbour:
    return Neighbour(_key(question), cosine, question, "key_1", 0.0, repeats=_key(repeats) if repeats else b"")


def _key(question: str) -> bytes:
    return question.encode()[:32].ljust(32)


#: Evidence of a namespace where the cosine tells all, and nearly everything is right.
OPEN = RiskRule(Weighing((3.0, 0.0, 2.0, 0.0, 0.0)), limit=0.05, opens=True)


def _look(candidates: list[Candidate], **fields: Any) -> Look:
    return Look(cast("Any", None), "none", candidates=candidates, **{"threshold": 1.0, **fields})


def _result(candidates: list[Candidate]) -> str:
    return result_of(_look(candidates), load_verifier())


def test_evidence_opens_what_is_near_and_no_trap() -> None:
    verifier = load_verifier()
    opposite, near_one, far = (
        near("How do I not reset my password?", 0.99), near("What are the steps when a password must be reset?", 0.9),
        near("Is there help with resetting passwords?", 0.8),
    )  # fmt: skip
    judged = judge(ASKED, [opposite, near_one, far], BY_TREES, verifier, OPEN)
    look = _look(judged, threshold=0.0, risk_limit=OPEN.limit, is_opened=True)
    assert judged[-1].question == opposite.question
    assert judged[-1].risk == min(one.risk or 1.0 for one in judged)
    assert look.why_not(judged[-1], verifier) == "trap"
    assert judged[0].question == near_one.question
    assert judged[0].score < verifier.safe_threshold
    assert look.why_not(judged[0], verifier) == ""
    (only,) = judge(ASKED, [far], BY_TREES, verifier, RiskRule(OPEN.weighing, 0.001, opens=True))
    assert result_of(_look([only], threshold=0.0, risk_limit=0.001, is_opened=True), verifier) in ("risky", "below")


def test_a_rule_that_opens_nothing_is_asked_beside_the_threshold() -> None:
    verifier = load_verifier()
    (judged,) = judge(ASKED, [near("How can I reset my password?", 0.95)], BY_TREES, verifier, OPEN)
    assert _look([judged], threshold=1.0, risk_limit=0.05).why_not(judged, verifier) == "below"
    assert _look([judged], threshold=0.9, risk_limit=0.05).why_not(judged, verifier) == ""
    assert _look([judged], threshold=0.9, risk_limit=0.0).why_not(judged, verifier) == "risky"


def test_neighbours_that_are_known_to_have_one_answer_speak_for_each_other() -> None:
    first, lone = near("How can I reset my password?", 0.95), near("Where do I reset my password?", 0.95)
    others = [near(f"What resets my password, {number}?", 0.85, first.question) for number in range(5)]
    judged = judge(ASKED, [first, lone, *others], BY_TREES, load_verifier())
    assert len(judged) == JUDGED_MAX
    agreements = {one.question: one.agreement for one in judged}
    # e to the power of 8 times .1 less.
    whole = 2 + 5 * math.exp(-0.8)
    assert agreements[first.question] == pytest.approx((whole - 1) / whole)
    assert agreements[lone.question] == pytest.approx(1 / whole)
    assert judge(ASKED, [lone], BY_TREES, load_verifier())[0].agreement == 1
    # A rule of risk that minds it takes the one that others speak for, also where the other one is nearer.
    rule = RiskRule(Weighing((0.0, 0.0, 0.1, 0.0, 2.0)), limit=0.9, opens=True)
    nearer = near(lone.question, 0.96)
    assert judge(ASKED, [nearer, first, *others], BY_TREES, load_verifier(), rule)[0].question == first.question


def test_the_verifier_outranks_the_cosine() -> None:
    opposite, same = near("How do I not reset my password?", 0.99), near("How can I reset my password?", 0.95)
    judged = judge(ASKED, [opposite, same], BY_TREES, load_verifier())
    assert [one.question for one in judged] == [same.question, opposite.question]
    assert judged[0].score > judged[1].score
    assert _result(judged) == "below"
    # The plain rule takes the opposite.
    assert judge(ASKED, [opposite, same], BY_COSINE, load_verifier())[0].question == opposite.question


def test_a_veto_comes_before_any_score() -> None:
    asked = analyse("Summarise invoice 4711 for me.")
    for settings in (BY_TREES, BY_COSINE):
        (judged,) = judge(asked, [near("Summarise invoice 4712 for me.", 0.99)], settings, load_verifier())
        assert (judged.score, bool(judged.veto)) == (0.0, True)
        assert _result([judged]) == "veto"
        # What they differ in is told to whoever asks for it, all the same.
        assert judged.named_features()["numbers_changed"] == 1
    assert _result([]) == "none"


def test_the_margin_is_to_the_next_that_says_something_else() -> None:
    same = near("How can I reset my password?", 0.95)
    spelled, other = near("how can I reset my password", 0.94), near("How do I reset my router?", 0.80)

    def margin(*neighbours: Neighbour) -> float:
        judged = judge(ASKED, neighbours, BY_TREES, load_verifier())
        best = next(one for one in judged if one.question == same.question)
        return best.features[FEATURES.index("margin")]

    assert margin(same) == 0
    assert margin(same, spelled) == 0
    assert margin(same, spelled, other) == pytest.approx(0.15)


def test_reasons_are_the_verifiers_or_the_cosine() -> None:
    verifier = load_verifier()
    (by_trees,) = judge(ASKED, [near("How can I reset my password?", 0.95)], BY_TREES, verifier)
    assert len(by_trees.reasons(verifier)) == 3
    assert by_trees.named_features()["cosine"] == 0.95
    (by_cosine,) = judge(ASKED, [near("How can I reset my password?", 0.95)], BY_COSINE, verifier)
    assert by_cosine.reasons(verifier) == [("cosine", 0.95, 0.0)]
