"""The rule that evidence opens: it keeps its target on traffic whose truth is known, and never opens traps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.semantic import risk_control
from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.risk_control import COMPARED_MIN, Compared, learn_rule
from agentcache.engine.semantic.risk_rule import (
    COSINE_FLOOR,
    SCORE_FLOOR,
    TRAPS,
    RiskRule,
    may_open,
    parse_rule,
    trap_in,
)
from agentcache.engine.semantic.weighing import Signals, Weighing
from tests.support.tiers import count

SHARE = 0.05
#: What people ask in a shop: the cosine tells more than the verifier, which was taught by traps.
SHOP = Weighing((2.0, 0.2, 2.4, 0.0, 0.0))
#: A place where neither tells anything: 6 % are wrong, whatever they say.
MURKY = Weighing((2.75, 0.0, 0.0, 0.0, 0.0))


@dataclass
class Traffic:
    """A namespace in the mode balanced, whose pairs agree by a known law; hits and wrong ones are counted."""

    seed: int
    target: float
    evidence: list[Compared] = field(default_factory=list)
    rule: RiskRule | None = None
    hits: int = 0
    wrong: int = 0

    @property
    def is_open(self) -> bool:
        return self.rule is not None and self.rule.opens and self.rule.admits(Signals(0.5, 0.9))

    def run(self, law: Weighing, count: int, learn_every: int = 500) -> Traffic:
        chance = random.Random(self.seed)
        for number in range(1, count + 1):
            signals = Signals(chance.random(), chance.uniform(COSINE_FLOOR, 1))
            agreed = chance.random() >= law.risk(signals)
            serves = self.rule is not None and self.rule.opens and self.rule.admits(signals)
            if serves and chance.random() >= SHARE:
                self.hits += 1
                self.wrong += not agreed
            else:
                self.evidence.append(Compared(signals, agreed, 1 / SHARE if serves else 1.0))
            if number % learn_every == 0:
                allowed = learn_rule(self.evidence[:-5_001:-1], self.target)
                self.rule = allowed.rule if allowed is not None else None
        return self


def _runs(law: Weighing, target: float, *, namespaces: int, questions: int) -> list[Traffic]:
    return [Traffic(seed, target).run(law, questions) for seed in range(namespaces)]


@pytest.mark.parametrize("target", [0.02, 0.05])
def test_streams_keep_to_their_target(target: float) -> None:
    """All namespaces together keep to it, and hardly any is beyond it by luck."""
    namespaces = count(4, 100)
    runs = _runs(SHOP, target, namespaces=namespaces, questions=3_000)
    hits = sum(one.hits for one in runs)
    assert hits > namespaces * 3_000 * 0.1
    assert sum(one.wrong for one in runs) / hits <= target
    assert sum(one.wrong > one.hits * (target + 0.01) for one in runs) <= namespaces // 4


def test_what_is_just_beyond_the_target_is_seldom_opened() -> None:
    """A controller that took the estimate for the truth serves 16 % here."""
    namespaces = count(12, 100)
    served = sum(one.hits for one in _runs(MURKY, 0.05, namespaces=namespaces, questions=2_000))
    assert served / (namespaces * 2_000) < 0.1


def test_a_namespace_that_goes_bad_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_hits_until_closed(seed: int) -> int:
        traffic = Traffic(seed, 0.05).run(SHOP, 3_000)
        assert traffic.is_open
        assert traffic.hits > 300
        traffic.hits = traffic.wrong = 0
        traffic.run(Weighing((-2.0, 0.2, 2.4, 0.0, 0.0)), 3_000)
        assert not traffic.is_open
        return traffic.wrong

    seeds = (0, 2)
    wrong = sum(map(wrong_hits_until_closed, seeds))
    # Without a look at the newest alone, what was right before holds it open for longer.
    monkeypatch.setattr(risk_control, "_is_refuted", lambda _agreed, _target: False)
    assert wrong < 0.8 * sum(map(wrong_hits_until_closed, seeds))


def test_the_newest_refute_what_the_oldest_prove() -> None:
    signals = Signals(0.9, 0.9)
    old, new = (
        [Compared(signals, agreed=True)] * 2_000,
        [Compared(signals, agreed=number % 5 > 0) for number in range(50)],
    )
    before, after = learn_rule(old, 0.05), learn_rule(new + old, 0.05)
    assert before is not None and after is not None
    assert (before.rule.opens, after.rule.opens) == (True, False)
    forgiven = learn_rule(old[:200] + new + old, 0.05)
    assert forgiven is not None and forgiven.rule.opens


def test_without_evidence_there_is_no_rule() -> None:
    good = [Compared(Signals(0.9, 0.9), agreed=True)]
    assert learn_rule([], 0.05) is None
    assert learn_rule(good * (COMPARED_MIN - 1), 0.05) is None
    allowed = learn_rule(good * COMPARED_MIN, 0.05)
    assert allowed is not None
    assert (allowed.rule.opens, allowed.wrong_share, allowed.compared) == (True, 0.0, COMPARED_MIN)


def test_what_is_not_proven_opens_nothing_but_makes_stricter() -> None:
    chance = random.Random(5)
    signals = [Signals(chance.random(), chance.uniform(0.75, 1)) for _ in range(120)]
    evidence = [Compared(one, agreed=chance.random() >= SHOP.risk(one)) for one in signals]
    allowed = learn_rule(evidence, 0.02)
    assert allowed is not None
    assert not allowed.rule.opens
    assert allowed.wrong_share <= 0.02
    assert 0 < sum(map(allowed.rule.admits, signals)) < 120


def test_agreement_opens_where_it_is_seen_to_tell() -> None:
    """Score and cosine are the same for all: what is wrong stands alone among its neighbours."""
    chance = random.Random(8)
    signals = [Signals(0.5, 0.85, agreement=chance.random()) for _ in range(1_500)]
    evidence = [Compared(one, agreed=chance.random() < 0.55 + 0.45 * (one.agreement > 0.5)) for one in signals]
    allowed = learn_rule(evidence, 0.05)
    assert allowed is not None
    assert allowed.rule.opens
    assert allowed.rule.admits(Signals(0.5, 0.85, agreement=0.95))
    assert not allowed.rule.admits(Signals(0.5, 0.85, agreement=0.3))
    # Nobody knows: no surer than those that stand alone.
    assert not allowed.rule.admits(Signals(0.5, 0.85))


def test_compared_hits_stand_for_those_that_were_not() -> None:
    """Misses that agreed prove nothing where the few hits that were compared did not."""
    signals = Signals(0.9, 0.9)
    misses = [Compared(signals, agreed=True)] * 400
    hits = [Compared(Signals(0.9, 0.95), agreed=number % 5 > 0, weight=20.0) for number in range(60)]
    alone, together = learn_rule(misses, 0.05), learn_rule(misses + hits, 0.05)
    assert alone is not None and together is not None
    assert alone.rule.opens
    assert not (together.rule.opens and together.rule.admits(hits[0].signals))


@given(st.sampled_from(TRAPS), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 0.9))
def test_no_evidence_opens_a_trap(name: str, score: float, cosine: float, balanced: float) -> None:
    features = [0.0] * len(FEATURES)
    assert trap_in(features) == ""
    features[FEATURES.index(name)] = 1.0
    assert trap_in(features) == name
    if may_open(Signals(score, cosine), trap_in(features), balanced=balanced):
        assert score >= balanced


def test_no_evidence_opens_below_the_floors() -> None:
    assert may_open(Signals(SCORE_FLOOR, COSINE_FLOOR), "", balanced=0.5)
    assert not may_open(Signals(SCORE_FLOOR - 0.01, 1.0), "", balanced=0.5)
    assert not may_open(Signals(1.0, COSINE_FLOOR - 0.01), "", balanced=0.5)


def test_a_rule_is_read_as_it_was_written() -> None:
    rule = RiskRule(Weighing((1.0, 0.5, 2.0, 0.0, 1.5)), 0.04, opens=True)
    assert parse_rule({**rule.as_document(), "compared": 100}) == rule


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"format": 1, "weights": [1, 1, 1, 1], "limit": 0.1},
        {"format": 3, "weights": [1, 1, 1, 1, 1], "limit": 0.1},
        {"format": 2, "weights": [1, 1, 1, 1], "limit": 0.1},
        {"format": 2, "weights": [1, 1, 1, 1, float("nan")], "limit": 0.1},
        {"format": 2, "weights": [1, 1, 1, 1, 1], "limit": 1.5},
        {"format": 2, "weights": [1, 1, 1, 1, 1], "limit": None},
    ],
)
def test_what_is_no_rule_leaves_the_thresholds_in_force(document: object) -> None:
    assert parse_rule(document) is None
