from __future__ import annotations

from datetime import UTC, datetime

from agentcache.audit.services import Actor
from agentcache.mails.services import body_of
from agentcache.quotas import services
from agentcache.quotas.jobs import tell_of_use
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.services import NewLimit
from tests.support.teams import join, mails_of

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
