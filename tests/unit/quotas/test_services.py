from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentcache.analytics.services import record_events
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.gateway.ports import UsageEvent
from agentcache.quotas import queries, services
from agentcache.quotas.errors import InvalidLimit, LimitSubjectNotFound
from agentcache.quotas.models import Limit, MonthlyUse, SubjectKind
from agentcache.quotas.plans import PlanName
from agentcache.quotas.services import NewLimit
from tests.support.sessions import program_of
from tests.support.teams import join, make_team

NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
NOBODY = Actor.system()


def event(number, team, at=NOVEMBER, **members):
    given = {
        "id": f"request-{number}",
        "at_ms": int(at.timestamp() * 1000),
        "tenant_id": team.pk,
        "api_key_id": "key_1",
        "dialect": "openai",
        "endpoint": "chat",
        "model": "gpt-4o-mini",
        "namespace": "default",
        "outcome": "exact",
        "status": 200,
    }
    return UsageEvent(**given | members)


def test_use_is_counted_once_by_event_and_attributed(team, admin):
    events = [event(number, team, user_id=admin.user_id, agent="crawler", cost_usd_nanos=5) for number in range(10)]
    events += [event(number, team) for number in range(10, 15)]
    record_events(events)
    record_events(events)
    usage = queries.usage_of(team, NOVEMBER)
    assert (usage.requests, usage.cost_usd_nanos) == (15, 50)
    assert usage.coverage.percent("member") == pytest.approx(100 * 10 / 15)
    assert usage.coverage.percent("agent") == pytest.approx(100 * 10 / 15)
    members = queries.use_by(team, SubjectKind.MEMBER, 202611)
    assert [(use.subject, use.requests, use.cost_usd_nanos) for use in members] == [(admin.user_id, 10, 50)]
    assert members[0].name


def test_each_month_has_counts_of_its_own(team):
    record_events([event(1, team, datetime(2026, 11, 30, 23, 59, 59, 999_000, tzinfo=UTC))])
    record_events([event(2, team, datetime(2026, 12, 1, tzinfo=UTC))])
    assert queries.usage_of(team, NOVEMBER).requests == 1
    december = queries.usage_of(team, datetime(2026, 12, 31, tzinfo=UTC))
    assert (december.requests, december.resets) == (1, datetime(2027, 1, 1, tzinfo=UTC))


def test_agents_beyond_a_bound_are_counted_for_the_team_only(team, monkeypatch):
    monkeypatch.setattr(services, "AGENTS_PER_MONTH_MAX", 3)
    record_events([event(number, team, agent=f"agent-{number}") for number in range(5)])
    record_events([event(number, team, agent=f"agent-{number % 5}") for number in range(5, 10)])
    agents = queries.use_by(team, SubjectKind.AGENT, 202611)
    assert [(use.subject, use.requests) for use in agents] == [(f"agent-{number}", 2) for number in range(3)]
    assert queries.usage_of(team, NOVEMBER).requests == 10


def test_what_is_shown_is_what_is_enforced(team):
    services.set_plan(team, PlanName.FREE, actor=NOBODY)
    record_events([event(number, team) for number in range(3)])
    services.note_counted(team.pk, 202611, {("team", ""): 5, ("key", "key_9"): 2})
    usage = queries.usage_of(team, NOVEMBER)
    assert (usage.requests, usage.binding.used, usage.binding.limit) == (5, 5, 10_000)
    assert queries.limits_for_gateway(team.pk, 202611).used["team", ""].requests == 5
    record_events([event(number, team) for number in range(3, 10)])
    services.note_counted(team.pk, 202611, {("team", ""): 5})
    assert queries.usage_of(team, NOVEMBER).requests == 10


def test_the_lower_of_the_plans_and_the_teams_quota_binds(team):
    services.set_plan(team, PlanName.FREE, actor=NOBODY)
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(500, 60, 10**9), actor=NOBODY)
    limits = queries.limits_for_gateway(team.pk, 202611).limits
    assert sorted((each.requests_per_month or 0, each.requests_per_minute or 0) for each in limits) == [
        (0, 60),
        (500, 0),
    ]
    record_events([event(number, team) for number in range(250)])
    usage = queries.usage_of(team, NOVEMBER)
    assert [(bar.measure, bar.percent, bar.is_plan) for bar in usage.bars] == [
        ("requests", 50.0, False),
        ("requests", 2.5, True),
        ("budget", 0.0, False),
    ]
    assert usage.binding.limit == 500


def test_a_budget_refuses_unknown_prices_unless_told_otherwise(team):
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(budget_usd_nanos_per_month=10**9), actor=NOBODY)
    assert [each.allows_unknown_price for each in queries.limits_for_gateway(team.pk, 202611).limits] == [False]
    lenient = NewLimit(budget_usd_nanos_per_month=10**9, allows_unknown_price=True)
    services.set_limit(team, SubjectKind.TEAM, "", lenient, actor=NOBODY)
    assert [each.allows_unknown_price for each in queries.limits_for_gateway(team.pk, 202611).limits] == [True]
    assert AuditEvent.objects.get(action="limit.changed").after["allows_unknown_price"] is True


def test_choices_that_a_program_leaves_out_stay_as_they_are(team, admin):
    program = program_of(admin.user)

    def put(**given):
        answer = program.put("/api/quotas/limits", {"kind": "team", **given}, "application/json")
        assert answer.status_code == 200, answer.content
        [limit] = answer.json()["limits"]
        return limit["is_hard"], limit["allows_unknown_price"], limit["requests_per_minute"]

    assert put(budget_usd_per_month="5", requests_per_minute=60) == (True, False, 60)
    assert put(budget_usd_per_month="5", is_hard=False, allows_unknown_price=True) == (False, True, None)
    assert put(budget_usd_per_month="9") == (False, True, None)
    assert put(budget_usd_per_month="9", is_hard=True, allows_unknown_price=False) == (True, False, None)


def test_a_team_without_a_plan_is_not_limited(team):
    assert queries.limits_for_gateway(team.pk, 202611).limits == ()
    usage = queries.usage_of(team, NOVEMBER)
    assert (usage.plan.name, usage.binding, usage.coverage.percent("member")) == (PlanName.SELF_HOSTED, None, None)


def test_a_change_is_written_down_with_what_was_before(team, admin):
    services.set_limit(team, SubjectKind.MEMBER, admin.user_id, NewLimit(100), actor=NOBODY)
    services.set_limit(team, SubjectKind.MEMBER, admin.user_id, NewLimit(100), actor=NOBODY)
    services.set_limit(team, SubjectKind.MEMBER, admin.user_id, NewLimit(200, is_hard=False), actor=NOBODY)
    services.set_limit(team, SubjectKind.MEMBER, admin.user_id, NewLimit(), actor=NOBODY)
    rows = list(AuditEvent.objects.filter(team_id=team.pk).order_by("id"))
    assert [row.action for row in rows] == ["limit.created", "limit.changed", "limit.removed"]
    assert rows[1].before["requests_per_month"] == 100
    assert (rows[1].after["requests_per_month"], rows[1].after["is_hard"]) == (200, False)
    assert not Limit.objects.exists()


@pytest.mark.parametrize("subject", ["key", "member", "agent", "team"])
def test_nobody_outside_the_team_can_be_limited(team, subject):
    stranger = join(make_team("Others"), "other@example.com")
    with pytest.raises(LimitSubjectNotFound):
        services.set_limit(
            team, SubjectKind(subject), "" if subject == "agent" else stranger.user_id, NewLimit(1), actor=NOBODY
        )


@pytest.mark.parametrize("new", [NewLimit(0), NewLimit(None, -1), NewLimit(None, 2_000_000), NewLimit(2**63)], ids=repr)
def test_a_limit_out_of_bounds_is_refused(team, new):
    with pytest.raises(InvalidLimit):
        services.set_limit(team, SubjectKind.TEAM, "", new, actor=NOBODY)


def test_who_used_twice_the_median_is_worth_a_look():
    uses = [queries.SubjectUse("member", str(number), "", number, 0, None) for number in (1, 10, 12, 24, 90)]
    assert [use.requests for use in queries.to_review(uses)] == [24, 90]
    assert queries.to_review(uses[-2:]) == []


def test_use_outlives_its_key(team):
    record_events([event(1, team, api_key_id="gone")])
    assert MonthlyUse.objects.filter(team_id=team.pk, kind="key", subject="gone").exists()
    assert [use.name for use in queries.use_by(team, SubjectKind.KEY, 202611)] == [""]
