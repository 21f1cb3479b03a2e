"""The steps of getting started are done by what happened, and stay where their reader has put them."""

import re
import time
from dataclasses import replace

import pytest

from agentcache.analytics import services as usage
from agentcache.audit.services import Actor
from agentcache.dashboard.entry_access import close_entry_access, entry_access, tenant_of
from agentcache.dashboard.models import ChecklistStep
from agentcache.engine.entries import Entry, EntryMeta
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.services import NewLimit, set_limit
from agentcache.teams.models import ApiKey, Invitation
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key
from tests.support.django_project import use_settings
from tests.support.sessions import browser_of, stranger
from tests.support.teams import join, make_team
from tests.support.usage import usage_event

TITLES = (
    "Confirm your mail address", "Create an API key", "Make the first request", "Get the first hit",
    "Set a lifetime or a tag", "Invite a teammate", "Set a limit or a budget",
)  # fmt: skip


@pytest.fixture
def team(project):
    # On a machine with much to do, a look-up may take longer than callers would wait.
    with use_settings(replace(project, store_budget_ms=10_000)):
        yield make_team()
        close_entry_access()


@pytest.fixture
def owner(team):
    return join(team, "owner@example.com", "owner").user


def page_of(browser):
    answer = browser.get("/dashboard")
    assert answer.status_code == 200
    return answer.content.decode()


def done(browser):
    """Titles of the steps that are taken."""
    items = re.findall(r'<li class="done">.*?<div><p>(.*?)</p>', page_of(browser), re.DOTALL)
    return [re.sub(r"<.*?>", "", item) for item in items]


def store_entry(team, key=1, **meta):
    known = {"dialect": "openai", "endpoint": "chat.completions", "stored_at": time.time(), "lifetime_seconds": 604_800}
    entry = Entry(bytes([key]) * 32, EntryMeta(**{**known, **meta}), b"{}")
    entry_access().call(lambda store: store.put(tenant_of(team), entry))


def test_each_step_is_done_by_what_happens(team, owner):
    browser = browser_of(owner)
    assert done(browser) == [TITLES[0]]
    assert all(title in page_of(browser) for title in TITLES)
    create_api_key(current_secrets(), team, "ci")
    assert done(browser) == list(TITLES[:2])
    usage.record_events([usage_event(team, outcome="refused")])
    assert done(browser) == list(TITLES[:2]), "a refused call is no request that was made"
    usage.record_events([usage_event(team, outcome="miss")])
    assert done(browser) == list(TITLES[:3])
    usage.record_events([usage_event(team, outcome="exact")])
    assert done(browser) == list(TITLES[:4])
    store_entry(team)
    assert done(browser) == list(TITLES[:4]), "an entry as the server makes it has no lifetime or tag of the team's own"
    store_entry(team, key=2, tags=("blue",))
    assert done(browser) == list(TITLES[:5])
    join(team, "mate@example.com")
    assert done(browser) == list(TITLES[:6])
    set_limit(team, SubjectKind.TEAM, "", NewLimit(requests_per_minute=100), actor=Actor.system())
    assert "getting-started" not in re.sub(r"<link.*?>", "", page_of(browser)), "all done, and not asked for"


@pytest.mark.parametrize("how", ["entry", "team"])
def test_a_lifetime_counts_as_well_as_a_tag(team, owner, how):
    usage.record_events([usage_event(team, outcome="miss")])
    assert TITLES[4] not in done(browser_of(owner))
    if how == "team":
        team.default_lifetime_seconds = 3600
        team.save()
    else:
        store_entry(team, lifetime_seconds=60)
    assert TITLES[4] in done(browser_of(owner))


def test_what_was_done_stays_done(team, owner):
    create_api_key(current_secrets(), team, "ci")
    assert TITLES[1] in done(browser_of(owner))
    ApiKey.objects.filter(team=team).delete()
    assert TITLES[1] in done(browser_of(owner))
    assert ChecklistStep.objects.filter(team=team).count() == 1


def test_another_team_begins_anew(team, owner):
    create_api_key(current_secrets(), team, "ci")
    done(browser_of(owner))
    other = join(make_team("Red Foxes"), "fox@example.com", "owner").user
    assert done(browser_of(other)) == [TITLES[0]]


def test_it_is_put_away_and_brought_back_by_one_member_for_themselves(team, owner):
    mate = join(team, "mate@example.com", "admin").user
    browser = browser_of(owner)
    answer = browser.post("/dashboard/checklist", {"shown": "off"})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard")
    assert "Get started" not in page_of(browser)
    assert "Show the steps of getting started (2 of 7 done)" in page_of(browser)
    assert "Get started" not in page_of(browser_of(owner)), "kept on the server, not in the browser"
    assert "Get started" in page_of(browser_of(mate))
    browser.post("/dashboard/checklist", {"shown": "on"})
    assert "Get started" in page_of(browser)


def test_it_can_be_brought_back_when_all_is_done(team, owner):
    ChecklistStep.objects.bulk_create(
        ChecklistStep(team=team, step=step)
        for step in ("create_key", "first_request", "first_hit", "lifetime_or_tag", "invite", "limit")
    )
    browser = browser_of(owner)
    assert "Show the steps of getting started (7 of 7 done)" in page_of(browser)
    browser.post("/dashboard/checklist", {"shown": "on"})
    assert "All set" in page_of(browser)


def test_steps_lead_only_where_one_may_go(team):
    viewer = page_of(browser_of(join(team, "viewer@example.com", "viewer").user))
    admin = page_of(browser_of(join(team, "admin@example.com", "admin").user))
    for address in ("/dashboard/keys/new", "/dashboard/team/settings"):
        link = f'<p><a href="{address}">'
        assert (link in viewer, link in admin) == (False, True)
    # Their own titles are there all the same: somebody of the team can do it.
    assert TITLES[1] in viewer


def test_only_a_form_of_a_member_changes_it(team, owner):
    assert stranger().post("/dashboard/checklist", {"shown": "off"}).status_code == 302
    assert browser_of(owner).get("/dashboard/checklist").status_code == 405
    foreign = browser_of(owner).post("/dashboard/checklist", {"shown": "off"}, HTTP_SEC_FETCH_SITE="cross-site")
    assert foreign.status_code == 403
    assert "Get started" in page_of(browser_of(owner))


def test_an_invitation_that_is_still_open_counts(team, owner):
    browser = browser_of(owner)
    assert TITLES[5] not in done(browser)
    answer = browser.post(
        "/dashboard/team/invites/new", {"emails": "new@example.com", "email": "new@example.com", "role": "member"}
    )
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    assert Invitation.objects.filter(team=team).exists()
    assert TITLES[5] in done(browser)
