from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from agentcache.audit.services import Actor
from agentcache.mails.services import body_of
from agentcache.quotas import services
from agentcache.quotas.jobs import tell_of_use
from agentcache.quotas.models import MonthlyUse, SubjectKind
from agentcache.quotas.services import NewLimit
from agentcache.webhooks.models import Message
from tests.support.teams import join, mails_of
from tests.support.webhooks import make_endpoint

NOVEMBER, DECEMBER = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def use(team, requests, month=202611):
    services.note_counted(team.pk, month, {("team", ""): requests})


def test_admins_and_payers_are_told_once_at_each_threshold(team, admin):
    join(team, "member@example.com")
    join(team, "payer@example.com", has_billing=True)
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(100), actor=Actor.system())
    told = []
    for used in (0, 49, 50, 79, 80, 90, 99, 100, 130):
        use(team, used)
        tell_of_use(NOVEMBER)
        tell_of_use(NOVEMBER)
        told.append(len(mails_of("quota-threshold")))
    assert told == [0, 0, 2, 2, 4, 6, 6, 8, 8]
    mails = mails_of("quota-threshold")
    assert {mail.to for mail in mails} == {"admin@example.com", "payer@example.com"}
    assert [mail.subject for mail in mails[::2]] == [
        f"Blue Whales: {percent} % of a request quota is used" for percent in (50, 80, 90, 100)
    ]
    body = body_of(mails[-1])
    assert "100 of 100" in body.text
    assert "The count begins anew on 1 December 2026, 00:00 UTC" in body.text
    use(team, 60, 202612)
    tell_of_use(DECEMBER)
    assert len(mails_of("quota-threshold")) == 10


def test_a_jump_over_several_thresholds_is_told_once(team, admin):
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(100), actor=Actor.system())
    use(team, 95)
    assert tell_of_use(NOVEMBER) == 1
    assert [mail.subject for mail in mails_of("quota-threshold")] == ["Blue Whales: 90 % of a request quota is used"]


def test_endpoints_are_told_with_the_mails_and_not_again(team, admin):
    make_endpoint(team, event_types=["quota.threshold"])
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(100), actor=Actor.system())
    for used in (10, 85, 85, 100):
        use(team, used)
        tell_of_use(NOVEMBER)
    told = [json.loads(message.body)["data"] for message in Message.objects.order_by("created_at", "id")]
    assert [(one["percent"], one["used"], one["limit"], one["measure"]) for one in told] == [
        (80, "85", "100", "requests"),
        (100, "100", "100", "requests"),
    ]
    assert told[0]["resets_at"] == "2026-12-01T00:00:00Z"


def test_a_budget_is_told_in_dollars(team, admin):
    make_endpoint(team, event_types=["quota.threshold"])
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(budget_usd_nanos_per_month=2 * 10**9), actor=Actor.system())
    MonthlyUse.objects.create(team_id=team.pk, month=202611, kind="team", subject="", cost_usd_nanos=1_900_000_000)
    assert tell_of_use(NOVEMBER) == 1
    data = json.loads(Message.objects.get().body)["data"]
    assert (data["measure"], data["used"], data["limit"], data["percent"]) == ("budget", "1.90", "2.00", 90)


def test_when_a_mail_cannot_be_written_nobody_is_told_at_all(team, admin, monkeypatch):
    make_endpoint(team, event_types=["quota.threshold"])
    services.set_limit(team, SubjectKind.TEAM, "", NewLimit(100), actor=Actor.system())
    use(team, 85)

    def broken(*_args, **_members):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("agentcache.quotas.jobs.emit", broken)
        with pytest.raises(RuntimeError):
            tell_of_use(NOVEMBER)
    assert not mails_of("quota-threshold")
    assert tell_of_use(NOVEMBER) == 1
    assert len(mails_of("quota-threshold")) == Message.objects.count() == 1
