"""Rules of risk: what evidence opens a namespace with, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.engine.semantic.risk_rule import RiskRule
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings, rule_in_force
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.semantic.weighing import AGREEMENT_UNKNOWN, Weighing
from agentcache.semantics import queries, services
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.models import Evidence, NearQuestion
from agentcache.semantics.services.learning import compared_pairs
from agentcache.semantics.settings_book import semantics_of
from tests.support.semantics import near_event, take
from tests.support.teams import make_team

SYSTEM = Actor.system()
NOW = datetime.now(UTC)


@pytest.fixture
def team(sqlite_project):
    return balanced_team()


def balanced_team():
    found = make_team()
    services.save_settings(found, "default", SettingsDraft("balanced", target=0.05), actor=SYSTEM)
    return found


def compared(team, count, *, agreed=True, kind="judged", asked="How do I reset my password, case {}?", **fields):
    """Take pairs that the verifier would not serve, whose answers were compared."""
    given = {"score": 0.3, "cosine": 0.93, "verifier": load_verifier().version, "features": {"cosine": 0.93}, **fields}
    take([near_event(team, kind, agreed=agreed, asked=asked.format(number), **given) for number in range(count)])
    services.learn_threshold(team, "default", NOW)
    return semantics_of(team.pk)["default"]


def test_proof_opens_and_what_goes_wrong_closes_again(team):
    in_force = compared(team, 120)
    assert in_force.mode is SemanticMode.BALANCED
    assert in_force.learned_rule.opens
    assert rule_in_force(in_force) == in_force.learned_rule
    (view,) = queries.namespaces_of(team, NOW.date())
    assert (view.learned_rule.compared, view.learned_rule.wrong_share) == (100, 0.0)
    assert in_force.learned_threshold is None
    closed = compared(team, 60, agreed=False, asked="How do I close my account, case {}?", kind="shadow", share=0.05)
    assert not closed.learned_rule.opens
    told = AuditEvent.objects.filter(team_id=team.pk, action="semantics.threshold_learned").order_by("at", "id")
    assert [event.after["opens"] for event in told] == [True, False]


def test_both_databases_keep_a_rule_and_none(project):
    team = balanced_team()
    rule = compared(team, 120).learned_rule
    assert rule.opens
    Evidence.objects.filter(team=team).update(learned_rule=None)
    assert semantics_of(team.pk)["default"].learned_rule is None
    assert queries.namespaces_with_rules(team) == []
    services.learn_threshold(team, "default", NOW)
    assert semantics_of(team.pk)["default"].learned_rule == rule
    assert queries.namespaces_with_rules(team) == ["default"]


def test_little_evidence_leaves_the_thresholds_alone(team):
    assert compared(team, 99) == SemanticSettings(SemanticMode.BALANCED, target=0.05)


def test_that_somebody_calls_hits_right_opens_nothing(team):
    assert compared(team, 200, kind="reported").learned_rule is None


def test_one_pair_of_questions_counts_once(team):
    assert compared(team, 200, asked="How do I reset my password?").learned_rule is None


@pytest.mark.parametrize("fields", [
    {"features": {"cosine": 0.93, "negation_parity": 1.0}},
    {"features": {"cosine": 0.93, "numbers_changed": 1.0}},
    {"features": {"cosine": 0.93, "names_changed": 2.0}},
    {"score": 0.01},
    {"cosine": 0.7},
    {"veto": "numbers"},
    {"verifier": "another"},
])  # fmt: skip
def test_evidence_of_what_may_not_be_opened_opens_nothing(team, fields):
    assert compared(team, 150, **fields).learned_rule is None


def test_a_rule_holds_for_what_it_was_learned_for(team):
    rule = compared(team, 120).learned_rule
    services.save_settings(team, "default", SettingsDraft("safe", target=0.05), actor=SYSTEM)
    assert rule_in_force(semantics_of(team.pk)["default"]) is None
    services.save_settings(team, "default", SettingsDraft("balanced", target=0.05), actor=SYSTEM)
    assert rule_in_force(semantics_of(team.pk)["default"]) == rule
    services.save_settings(team, "default", SettingsDraft("balanced", target=0.002), actor=SYSTEM)
    stricter = semantics_of(team.pk)["default"].learned_rule
    assert not stricter.opens


def test_what_an_earlier_release_or_nobody_wrote_is_no_rule(team):
    fitting = {"verifier": load_verifier().version, "target": 0.05}
    row = Evidence.objects.create(team=team, namespace="default", learned_threshold=0.9, **fitting)
    for written in (None, {}, {"format": 99, "weights": [1, 1, 1, 1], "limit": 1.0, "opens": True}, "all"):
        row.learned_rule = written
        row.save()
        assert semantics_of(team.pk)["default"] == SemanticSettings(
            SemanticMode.BALANCED, target=0.05, learned_threshold=0.9
        )
    rule = RiskRule(Weighing(), 0.1, opens=True)
    row.learned_rule, row.learned_threshold = rule.as_document(), None
    row.save()
    assert semantics_of(team.pk)["default"].learned_rule == rule
    (view,) = queries.namespaces_of(team, NOW.date())
    assert (view.learned_rule.rule, view.learned_rule.compared) == (rule, 0)


def test_an_event_keeps_the_risk_it_was_served_at(team):
    event = near_event(team, risk=0.02, risk_limit=0.06, agreement=0.8)
    take([event])
    row = NearQuestion.objects.get(pk=event.id)
    assert (row.risk, row.risk_limit, row.agreement) == (0.02, 0.06, 0.8)


def test_evidence_weighs_agreement_where_it_is_known(team):
    pair = {
        "agreed": True,
        "score": 0.3,
        "cosine": 0.93,
        "verifier": load_verifier().version,
        "features": {"cosine": 0.93},
    }
    take(
        [
            near_event(team, "judged", **pair, agreement=0.8),
            near_event(team, "judged", **pair, asked="How to reset it?"),
        ]
    )
    pairs = compared_pairs(team, "default", pair["verifier"], datetime.now(UTC))
    assert sorted(pair.signals.agreement for pair in pairs) == [AGREEMENT_UNKNOWN, 0.8]
