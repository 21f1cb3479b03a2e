"""Weighing score, cosine, words and agreement: what evidence does to it, and what it is without any."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentcache.engine.semantic.binomial import at_most, is_below
from agentcache.engine.semantic.weighing import Signals, Weighing, fit

_signals = st.builds(
    Signals, score=st.floats(0, 1), cosine=st.floats(0.6, 1), words=st.floats(0, 30), agreement=st.floats(0, 1)
)


def _pairs(count: int, law: Weighing, seed: int) -> tuple[list[Signals], list[bool]]:
    """Return pairs whose answers agree by a known law."""
    chance = random.Random(seed)
    signals = [
        Signals(chance.random(), chance.uniform(0.6, 1), chance.randint(0, 12), chance.random()) for _ in range(count)
    ]
    return signals, [chance.random() >= law.risk(one) for one in signals]


@given(_signals)
def test_without_evidence_the_risk_is_one_less_the_score(signals: Signals) -> None:
    assert fit([], []).risk(signals) == pytest.approx(1 - min(max(signals.score, 0.002), 0.998))


def test_much_evidence_finds_the_law_behind_it() -> None:
    law = (1.5, 0.2, 1.1, 0.8, 0.9)
    assert fit(*_pairs(6_000, Weighing(law), seed=3)).weights == pytest.approx(law, abs=0.15)


def test_little_evidence_hardly_moves_it() -> None:
    signals = Signals(0.9, 0.7)
    assert fit([signals] * 2, [False] * 2).risk(signals) < 0.5
    assert fit([signals] * 200, [False] * 200).risk(signals) > 0.9


@given(st.lists(st.tuples(_signals, st.booleans()), max_size=40))
@example([(Signals(0.0, 1.0, 1.0, 1.0), True), (Signals(0.0, 1.0, 0.5, 0.875), True)])
def test_it_settles_at_the_one_optimum(pairs: list[tuple[Signals, bool]]) -> None:
    signals, agreed = [one for one, _ in pairs], [same for _, same in pairs]
    found = fit(signals, agreed)
    again = fit(signals, agreed, start=Weighing((3.0, -2.0, 4.0, 0.0, 2.0)))
    assert all(map(math.isfinite, found.weights))
    assert again.weights == pytest.approx(found.weights, abs=1e-3)


@pytest.mark.parametrize(("wrong", "size", "share"), [(0, 59, 0.05), (1, 10, 0.1), (40, 1000, 0.05), (7, 300, 0.02)])
def test_the_bound_is_the_binomials(wrong: int, size: int, share: float) -> None:
    exact = sum(math.comb(size, one) * share**one * (1 - share) ** (size - one) for one in range(wrong + 1))
    assert at_most(wrong, size, share) == pytest.approx(exact, rel=1e-9)
    assert is_below(wrong, size, share, exact + 1e-9) == (wrong < size * share)
    assert not is_below(wrong, size, share, exact - 1e-9)


def test_59_right_ones_prove_five_percent() -> None:
    assert is_below(0, 59, 0.05, 0.05)
    assert not is_below(0, 58, 0.05, 0.05)
    assert not is_below(0, 0, 0.05, 0.05)
