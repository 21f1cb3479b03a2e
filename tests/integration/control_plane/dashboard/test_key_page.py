"""The page of one key: what it did, every limit that binds it, and which one binds first."""

import re

import pytest

from agentcache.analytics import services as analytics
from agentcache.audit.services import Actor
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.plans import PlanName
from agentcache.quotas.services import NewLimit, set_limit, set_plan
from agentcache.teams.models import ApiKey, Membership
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key
from tests.support.sessions import browser_of
from tests.support.teams import join, make_team
from tests.support.usage import usage_event

SYSTEM = Actor.system()


@pytest.fixture
def team(project):
    return make_team()


@pytest.fixture
def ada(team):
    return join(team, "ada@example.com", "admin")


def key_of(member: Membership, **more) -> ApiKey:
    return create_api_key(
        current_secrets(), member.team, "Indexer", created_by=member.user, is_shared=False, **more
    ).row


def page_of(member, key):
    answer = browser_of(member.user).get(f"/dashboard/keys/{key.pk}")
    assert answer.status_code == 200
    return answer.content.decode()


def words(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def use(team, key, member, requests, cost=0, **more):
    analytics.record_events(
        [
            usage_event(team, api_key_id=key.pk, user_id=member.user_id, outcome="miss", cost_usd_nanos=cost, **more)
            for _ in range(requests)
        ]
    )


def test_every_limit_that_binds_a_key_is_shown_and_the_nearest_is_marked(team, ada):
    key = key_of(ada)
    set_plan(team, PlanName.FREE, actor=SYSTEM)
    set_limit(team, SubjectKind.KEY, key.pk, NewLimit(requests_per_month=40, requests_per_minute=90), actor=SYSTEM)
    set_limit(team, SubjectKind.MEMBER, ada.user_id, NewLimit(budget_usd_nanos_per_month=10**9), actor=SYSTEM)
    set_limit(team, SubjectKind.TEAM, "", NewLimit(requests_per_minute=600), actor=SYSTEM)
    other = key_of(ada)
    set_limit(team, SubjectKind.KEY, other.pk, NewLimit(requests_per_month=7), actor=SYSTEM)
    use(team, key, ada, 10, cost=80_000_000)
    page = page_of(ada, key)
    shown = words(page)
    # 80 % of the member's budget, 25 % of the key's requests, 0.1 % of the plan's.
    assert re.search(r"Its member: provider cost this month \$0\.80* of \$1\.0", shown), shown[600:]
    assert "This key: requests this month 10 of 40" in shown
    assert "The team: requests this month 10 of 10,000" in shown
    assert " of 7" not in shown
    binding = words(page.partition("data-binding")[2].partition("</div></div>")[0])
    assert "Its member: provider cost" in binding
    assert page.count("data-binding") == 1
    assert "This key 90 requests a minute Binding" in shown
    assert "The team 600 requests a minute" in shown


def test_a_soft_limit_is_not_called_binding_while_a_hard_one_is_there(team, ada):
    key = key_of(ada)
    set_limit(team, SubjectKind.KEY, key.pk, NewLimit(requests_per_month=10, is_hard=False), actor=SYSTEM)
    set_limit(team, SubjectKind.TEAM, "", NewLimit(requests_per_month=100), actor=SYSTEM)
    use(team, key, ada, 9)
    page = page_of(ada, key)
    binding = words(page.partition("data-binding")[2].partition("</div></div>")[0])
    assert "The team: requests" in binding


def test_a_key_without_limits_says_so_and_its_environment(team, ada):
    page = words(page_of(ada, key_of(ada)))
    assert "Nothing limits this key this month." in page
    assert "Environment Live" in page
    assert "Environment Test" in words(page_of(ada, key_of(ada, is_test=True)))


def test_refused_calls_are_told_apart_from_errors(team, ada):
    key = key_of(ada)
    use(team, key, ada, 3)
    analytics.record_events(
        [usage_event(team, api_key_id=key.pk, outcome="refused", status=429, reason="rate_limited", requests=250)]
    )
    page = words(page_of(ada, key))
    assert "Errors 0 and 250 refused" in page


def test_resetting_a_key_ends_its_value_at_once_and_keeps_the_key(team, ada):
    key = key_of(ada)
    browser = browser_of(ada.user)
    form = browser.get(f"/dashboard/keys/{key.pk}/rotate").content.decode()
    once = re.search(r'name="once" value="([^"]+)"', form)
    assert once is not None
    answer = browser.post(f"/dashboard/keys/{key.pk}/rotate", {"overlap": "0", "once": once[1]})
    assert answer.status_code == 201
    assert "ends now: servers refuse it within 5 seconds" in answer.content.decode()
    assert ApiKey.objects.get(pk=key.pk).display != key.display
