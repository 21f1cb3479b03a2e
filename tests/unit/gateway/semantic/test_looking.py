"""Candidates and their verdicts, from neighbours that an index could give."""

from __future__ import annotations

import pytest

from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.index.port import Neighbour
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.gateway.semantic.looking import judge, result_of

ASKED = analyse("How do I reset my password?")
BY_TREES, BY_COSINE = SemanticSettings(), SemanticSettings(verifier="cosine")


def near(question: str, cosine: float) -> Neighbour:
    return Neighbour(question.encode()[:32].ljust(32), cosine, question, "key_1", 0.0)


def test_the_verifier_outranks_the_cosine() -> None:
    opposite, same = near("How do I not reset my password?", 0.99), near("How can I reset my password?", 0.95)
    judged = judge(ASKED, [opposite, same], BY_TREES, load_verifier())
    assert [one.question for one in judged] == [same.question, opposite.question]
    assert judged[0].score > judged[1].score
    assert result_of(judged) == "below"
    # The plain rule takes the opposite.
    assert judge(ASKED, [opposite, same], BY_COSINE, load_verifier())[0].question == opposite.question


def test_a_veto_comes_before_any_score() -> None:
    asked = analyse("Summarise invoice 4711 for me.")
    for settings in (BY_TREES, BY_COSINE):
        (judged,) = judge(asked, [near("Summarise invoice 4712 for me.", 0.99)], settings, load_verifier())
        assert (judged.score, bool(judged.veto)) == (0.0, True)
        assert result_of([judged]) == "veto"
    assert result_of([]) == "none"


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
