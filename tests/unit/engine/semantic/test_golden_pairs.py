"""Pairs of our own that no training has seen: what the model that ships does with them."""

import json
from pathlib import Path

import pytest

from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.semantic.vetoes import veto

#: With the cosines of the built-in embedder.
PAIRS = [json.loads(line) for line in (Path(__file__).parent / "golden_pairs.jsonl").read_text().splitlines()]


def score(pair) -> float:
    if normalised(pair["asked"]) == normalised(pair["stored"]):
        return 1.0
    asked, stored = analyse(pair["asked"]), analyse(pair["stored"])
    return (
        0.0
        if veto(asked, stored)
        else load_verifier().judge(asked, stored, pair_features(asked, stored, pair["cosine"], 0.0))
    )


def served_share(threshold: float, *, is_same: bool, kind: str = "") -> float:
    chosen = [score(pair) >= threshold for pair in PAIRS if pair["is_same"] is is_same and kind in ("", pair["kind"])]
    return sum(chosen) / len(chosen)


def test_the_safe_threshold_serves_paraphrases_and_no_trap():
    threshold = load_verifier().safe_threshold
    assert served_share(threshold, is_same=False) == 0
    assert served_share(threshold, is_same=True) >= 0.25


def test_the_safe_threshold_serves_what_people_only_word_otherwise():
    """How can I, how do I: these were refused once, because the model was taught by traps alone."""
    assert served_share(load_verifier().safe_threshold, is_same=True, kind="natural") >= 0.7


def test_the_balanced_threshold_serves_more():
    verifier = load_verifier()
    assert verifier.balanced_threshold < verifier.safe_threshold
    assert served_share(verifier.balanced_threshold, is_same=True) > served_share(verifier.safe_threshold, is_same=True)


def test_a_plain_cosine_would_serve_traps():
    """Or these pairs would prove nothing."""
    traps = [pair for pair in PAIRS if not pair["is_same"]]
    assert sum(pair["cosine"] >= 0.95 for pair in traps) / len(traps) > 0.2


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair["kind"] in {"number", "literal", "date"}], ids=str)
def test_changed_numbers_and_literals_are_never_served(pair):
    assert score(pair) < load_verifier().balanced_threshold
