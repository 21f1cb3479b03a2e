"""Settings of semantic answers: what is in force is never looser than what the team allows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.semantic.risk_rule import SCORE_FLOOR, RiskRule
from agentcache.engine.semantic.settings import (
    COSINE_THRESHOLD,
    NOTHING_ASKED,
    OFF,
    SemanticAsked,
    SemanticMode,
    SemanticSettings,
    mode_in_force,
    parse_asked,
    rule_in_force,
    settings_for,
    threshold_in_force,
)
from agentcache.engine.semantic.weighing import Weighing

SAFE, BALANCED = 0.93, 0.82
_unit = st.floats(0, 1)
_settings = st.builds(
    SemanticSettings,
    mode=st.sampled_from(SemanticMode),
    verifier=st.sampled_from(["trees", "cosine"]),
    threshold=st.none() | _unit,
    learned_threshold=st.none() | st.floats(0, 1.5),
    learned_rule=st.none() | st.builds(RiskRule, st.just(Weighing()), limit=_unit, opens=st.booleans()),
)
_asked = st.builds(SemanticAsked, mode=st.none() | st.sampled_from(SemanticMode), threshold=st.none() | _unit)
_SERVES = (SemanticMode.SAFE, SemanticMode.BALANCED, SemanticMode.CUSTOM)


def _threshold(settings: SemanticSettings, asked: SemanticAsked = NOTHING_ASKED) -> float:
    return threshold_in_force(settings, asked, safe=SAFE, balanced=BALANCED)


@given(_settings, _asked)
def test_a_caller_can_only_tighten(settings: SemanticSettings, asked: SemanticAsked) -> None:
    assert _threshold(settings, asked) >= _threshold(settings)
    if mode_in_force(settings, asked) in _SERVES:
        assert settings.mode in _SERVES


@pytest.mark.parametrize("asked", ["off", "safe", "balanced", "shadow", "0.97"])
def test_nothing_a_caller_asks_turns_on_what_is_off(asked: str) -> None:
    found = parse_asked(asked)
    assert found is not None
    assert mode_in_force(OFF, found) is SemanticMode.OFF


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (" Safe ", SemanticAsked(mode=SemanticMode.SAFE)),
        ("0.97", SemanticAsked(threshold=0.97)),
        (".9", SemanticAsked(threshold=0.9)),
        ("1", SemanticAsked(threshold=1.0)),
        ("custom", None),
        ("1.1", None),
        ("-0.5", None),
        ("0.30000000000000004", SemanticAsked(threshold=0.1 + 0.2)),
        ("٠.٩", None),
        ("nan", None),
        ("", None),
        ("1e-1", None),
    ],
)
def test_reads_what_callers_ask(text: str, asked: SemanticAsked | None) -> None:
    assert parse_asked(text) == asked


def test_each_mode_has_its_threshold() -> None:
    modes = SemanticMode
    assert _threshold(SemanticSettings(modes.SAFE)) == SAFE
    assert _threshold(SemanticSettings(modes.SAFE, learned_threshold=0.97)) == 0.97
    assert _threshold(SemanticSettings(modes.SAFE, learned_threshold=0.5)) == SAFE
    assert _threshold(SemanticSettings(modes.BALANCED)) == SAFE
    assert _threshold(SemanticSettings(modes.BALANCED, learned_threshold=0.5)) == BALANCED
    assert _threshold(SemanticSettings(modes.BALANCED, learned_threshold=1.01)) == 1.01
    assert _threshold(SemanticSettings(modes.CUSTOM, threshold=0.7, learned_threshold=0.9)) == 0.7
    assert _threshold(SemanticSettings(modes.SHADOW, threshold=0.7)) == 0.7
    assert _threshold(SemanticSettings(modes.SAFE, "cosine")) == COSINE_THRESHOLD
    assert _threshold(SemanticSettings(modes.CUSTOM, threshold=0.7), SemanticAsked(mode=modes.SAFE)) == SAFE


def test_a_rule_opens_in_balanced_alone_and_a_caller_can_close_it() -> None:
    modes, rule = SemanticMode, RiskRule(Weighing(), 0.05, opens=True)
    balanced = SemanticSettings(modes.BALANCED, learned_threshold=0.9, learned_rule=rule)
    assert (_threshold(balanced), rule_in_force(balanced)) == (SCORE_FLOOR, rule)
    assert _threshold(balanced, SemanticAsked(threshold=0.9)) == 0.9
    safe = SemanticAsked(mode=modes.SAFE)
    assert (_threshold(balanced, safe), rule_in_force(balanced, safe)) == (SAFE, replace(rule, opens=False))
    closed = replace(balanced, learned_rule=replace(rule, opens=False))
    assert _threshold(closed) == 0.9
    for mode in (modes.SHADOW, modes.SAFE, modes.CUSTOM):
        assert rule_in_force(replace(balanced, mode=mode)) is None
    assert rule_in_force(replace(balanced, verifier="cosine")) is None


def test_a_policy_overrules_the_namespace() -> None:
    semantics = {"faq": SemanticSettings(SemanticMode.BALANCED), "*": SemanticSettings(target=0.01)}
    assert settings_for(semantics, "faq").mode is SemanticMode.BALANCED
    assert settings_for(semantics, "faq", False) is OFF
    assert settings_for(semantics, "other").mode is SemanticMode.OFF
    assert settings_for(semantics, "other", True) == SemanticSettings(SemanticMode.SAFE, target=0.01)
    assert settings_for({}, "other", True).mode is SemanticMode.SAFE
    assert settings_for({}, "other") is OFF
