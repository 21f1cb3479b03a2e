"""Pages of listeners, without a browser."""

from datetime import UTC, datetime, timedelta

import pytest

from agentcache.audit.services import Actor
from agentcache.listeners import services
from agentcache.listeners.models import EventKind, Listener, ListenerEvent
from agentcache.listeners.rules import Wanted
from agentcache.quotas.plans import PlanName
from agentcache.quotas.services import set_plan
from tests.support.sessions import browser_of
from tests.support.teams import join, make_team

NOW = datetime.now(UTC)
FORM = {
    "url": "https://example.com/prices", "interval": "3600", "selector": "", "tags": "a, b", "namespace": "",
    "webhook": "", "invalidates": "on",
}  # fmt: skip


@pytest.fixture
def team(sqlite_project):
    return make_team()


@pytest.fixture
def member(team):
    return browser_of(join(team, "member@example.com").user)


@pytest.fixture
def row(team, sqlite_project):
    wanted = Wanted("https://example.com/prices", 3600, webhook_url="https://hooks.example.com/t0ken")
    row = services.register(team, wanted, sqlite_project, NOW, actor=Actor.system())
    diff = "-Pro: $20\n+Pro: <script>alert(1)</script>\n@@\n same"
    ListenerEvent.objects.create(
        listener=row, kind=EventKind.CHANGED, at=NOW, since=NOW, diff=diff, added=1, removed=1, invalidated=3,
        selectors=[{"what": "source", "value": "https://example.com/prices", "entries": 3}],
    )  # fmt: skip
    Listener.objects.filter(pk=row.pk).update(
        last_read_at=NOW, last_checked_at=NOW, last_changed_at=NOW, changes=1, checks=7, kind="html",
        next_check_at=NOW + timedelta(hours=1),
    )  # fmt: skip
    return row


def text(answer):
    return answer.content.decode()


def test_without_listeners_the_list_says_what_they_are_for(member, team):
    answer = member.get("/dashboard/listeners")
    assert "Nothing is watched yet" in text(answer)
    assert 'href="/dashboard/listeners/new"' in text(answer)
    viewer = browser_of(join(team, "viewer@example.com", "viewer").user)
    assert 'href="/dashboard/listeners/new"' not in text(viewer.get("/dashboard/listeners"))


def test_a_source_is_watched_by_the_form(member, team):
    answer = member.post("/dashboard/listeners/new", FORM)
    made = Listener.objects.get(team=team)
    assert answer["Location"] == f"/dashboard/listeners/{made.pk}"
    assert (made.tags, made.check_interval_seconds, made.invalidates) == (["a", "b"], 3600, True)
    assert "The first reading is under way" in text(member.get(answer["Location"]))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"url": "http://example.com"}, "Only https on port 443"),
        ({"url": "https://localhost/"}, "cannot watch this server itself"),
        ({"selector": "p["}, "CSS selector cannot be understood"),
        ({"interval": "60"}, "not one of the available choices"),
        ({"tags": "x" * 200}, "is not a tag"),
    ],
)
def test_a_form_that_cannot_be_says_why_beside_the_field(member, members, said):
    answer = member.post("/dashboard/listeners/new", {**FORM, **members})
    assert answer.status_code == 422
    assert said in text(answer)
    assert not Listener.objects.exists()


def test_a_listener_shows_what_changed_and_what_it_removed(member, row, team):
    page = text(member.get(f"/dashboard/listeners/{row.pk}"))
    assert "Pro: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<strong>3 answers</strong> were removed" in page
    assert "t0ken" in page
    viewer = browser_of(join(team, "viewer@example.com", "viewer").user)
    page = text(viewer.get(f"/dashboard/listeners/{row.pk}"))
    assert "t0ken" not in page
    assert "hooks.example.com" in page
    assert "Pause" not in page
    listed = text(viewer.get("/dashboard/listeners?search=prices"))
    assert "example.com/prices" in listed
    assert "No listener fits" in text(viewer.get("/dashboard/listeners?search=nothing"))


def test_a_listener_is_changed_paused_resumed_checked_and_deleted(member, row):
    one = f"/dashboard/listeners/{row.pk}"
    assert 'value="https://example.com/prices"' in text(member.get(f"{one}/change"))
    assert member.post(f"{one}/change", {**FORM, "tags": "z"}).status_code == 302
    assert Listener.objects.get().tags == ["z"]
    for path, said in (
        ("check", "is checked as soon"),
        ("pause", "is paused"),
        ("check", "resume it"),
        ("resume", "resumed"),
    ):
        answer = member.post(f"{one}/{path}", follow=True)
        assert said in text(answer), path
    assert "Delete this listener?" in text(member.get(f"{one}/delete"))
    member.post(f"{one}/delete")
    assert not Listener.objects.exists()
    assert member.get(one).status_code == 404


def test_history_continues(member, row):
    for number in range(45):
        at = NOW - timedelta(minutes=number)
        ListenerEvent.objects.create(listener=row, kind=EventKind.FAILED, at=at, since=at, detail=f"Failure {number}.")
    page = text(member.get(f"/dashboard/listeners/{row.pk}"))
    assert page.count("Failure ") == 20
    assert "?before=" in page
    for wrong in ("?before=x", f"?before={10**30}", "?before=-1"):
        assert member.get(f"/dashboard/listeners/{row.pk}{wrong}").status_code == 200


def test_another_teams_listener_is_not_there(row):
    foreign = browser_of(join(make_team("Others"), "other@example.com", "admin").user)
    for path in ("", "/change", "/delete"):
        assert foreign.get(f"/dashboard/listeners/{row.pk}{path}").status_code == 404
    for path in ("/check", "/pause", "/resume", "/delete", "/change"):
        assert foreign.post(f"/dashboard/listeners/{row.pk}{path}", FORM).status_code == 404
    assert Listener.objects.filter(pk=row.pk, paused_because="").exists()


def test_the_plans_limits_are_shown(member, team, row):
    set_plan(team, PlanName.FREE, actor=Actor.system())
    assert "of 5" in text(member.get("/dashboard/listeners"))
    assert "watches 5 sources" in text(member.get("/dashboard/listeners/new"))
