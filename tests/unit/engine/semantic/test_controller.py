"""The controller: its arithmetic, its properties, and a simulated stream with a verifier whose errors are known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.semantic.controller import (
    CLOSED,
    JUDGEMENTS_MIN,
    Judgement,
    learn,
    measure,
    wilson,
    wilson_upper,
)

_judgements = st.lists(
    st.builds(
        Judgement,
        score=st.floats(0, 1).map(lambda score: round(score, 2)),
        agreed=st.booleans(),
        weight=st.sampled_from([1.0, 20.0]),
    ),
    max_size=200,
)
_targets = st.sampled_from([0.01, 0.05, 0.2, 0.5])


def test_the_interval_is_wilsons() -> None:
    # By hand, for 1 of 10 and z = 2: centre 0.3 / 1.4, half 2 * sqrt(0.009 + 0.01) / 1.4.
    lower, upper = wilson(0.1, 10)
    assert lower == pytest.approx(0.0174, abs=1e-4)
    assert upper == pytest.approx(0.4112, abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)
    # 196 right ones and no wrong one are what a target of 2 % needs.
    assert wilson_upper(0.0, 196) == pytest.approx(0.02)


@given(_judgements, _targets, st.floats(0, 1))
def test_what_is_learned_is_proven_or_raised(evidence: list[Judgement], target: float, floor: float) -> None:
    found = learn(evidence, target=target, floor=floor)
    if found is None or found == CLOSED:
        return
    assert found >= floor
    served = measure(evidence, found)
    assert served.upper <= target or (served.lower <= target < measure(evidence, floor).lower)


@given(_judgements, _targets, st.floats(0, 1), st.randoms())
def test_order_does_not_matter(evidence: list[Judgement], target: float, floor: float, order: random.Random) -> None:
    shuffled = list(evidence)
    order.shuffle(shuffled)
    assert learn(shuffled, target=target, floor=floor) == learn(evidence, target=target, floor=floor)


@given(_judgements, _targets, st.floats(0, 1))
def test_a_wider_target_never_asks_for_more(evidence: list[Judgement], target: float, floor: float) -> None:
    strict, loose = (learn(evidence, target=share, floor=floor) for share in (target, 2 * target))
    if strict is None:
        # Nothing was proven either way; with a wider target it may be proven to be well, never to be bad.
        assert loose is None or measure(evidence, loose).upper <= 2 * target
    elif loose is not None:
        assert loose <= strict


@given(st.integers(0, JUDGEMENTS_MIN - 1), st.booleans())
def test_little_evidence_says_nothing(count: int, agreed: bool) -> None:
    assert learn([Judgement(0.9, agreed)] * count, target=0.05, floor=0.5) is None


def test_proof_against_everything_closes() -> None:
    assert learn([Judgement(0.9, agreed=False)] * 60, target=0.05, floor=0.5) == CLOSED


def test_rises_to_where_hits_are_not_proven_wrong() -> None:
    evidence = [Judgement(0.9, agreed=False)] * 40 + [Judgement(0.95, agreed=True)] * 20
    assert learn(evidence, target=0.02, floor=0.9) == 0.95


def test_a_compared_hit_counts_for_those_that_were_not() -> None:
    hits = [Judgement(0.9, agreed=False, weight=20.0)] + [Judgement(0.9, agreed=True, weight=20.0)] * 9
    misses = [Judgement(0.9, agreed=True)] * 200
    assert measure(hits + misses).wrong_share == pytest.approx(20 / 400)


@pytest.mark.parametrize("target", [0.02, 0.05])
def test_a_stream_keeps_to_its_target(target: float) -> None:
    """Questions whose nearest neighbour is wrong with a known chance that falls as the score rises; as traffic finds it."""
    chance, share, floor = random.Random(7), 0.05, 0.5
    threshold, evidence, hits, wrong = 0.95, [], 0, 0
    for number in range(16_000):
        score = chance.random()
        agreed = chance.random() < score**0.25
        if score < threshold:
            if score >= floor:
                evidence.append(Judgement(score, agreed))
        elif chance.random() < share:
            evidence.append(Judgement(score, agreed, 1 / share))
        elif number >= 4_000:
            hits += 1
            wrong += not agreed
        if number % 250 == 0:
            learned = learn(evidence[-2_000:], target=target, floor=floor, start=0.95)
            threshold = 0.95 if learned is None else learned
    assert hits > 500
    assert wrong / hits <= target + 0.005
