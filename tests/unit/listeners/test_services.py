"""What may be watched, by whom and how often."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.listeners import queries, services
from agentcache.listeners.errors import (
    IntervalTooShort,
    InvalidListener,
    ListenerExists,
    ListenerNotFound,
    ListenerPaused,
    OwnAddress,
    TooManyListeners,
)
from agentcache.listeners.jobs import prune
from agentcache.listeners.models import EventKind, Host, Listener, ListenerEvent
from agentcache.listeners.rules import Wanted
from agentcache.quotas.plans import PLANS, PlanName
from agentcache.quotas.services import set_plan
from tests.support.teams import make_team

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
URL = "https://example.com/prices"
NOBODY = Actor.system()


@pytest.fixture
def register(team, project):
    def register(url=URL, seconds=3600, team=team, **members):
        return services.register(team, Wanted(url, seconds, **members), project, NOW, actor=NOBODY)

    return register


@pytest.fixture
def change(team, project):
    return lambda row, **changes: services.change(team, row.pk, changes, project, NOW, actor=NOBODY)


def test_a_listener_is_due_at_once_and_written_down(register, team):
    row = register(tags=("b", "a", "a"), webhook_url="https://hooks.example.com/s3cret")
    assert (row.next_check_at, row.host, row.tags) == (NOW, "example.com", ["a", "b"])
    audited = AuditEvent.objects.get(team_id=team.pk, action="listener.created")
    assert (audited.target_id, audited.after["tags"]) == (row.pk, ["a", "b"])
    assert "s3cret" not in str(audited.after)


@pytest.mark.parametrize(
    ("wanted", "param", "error"),
    [
        ({"url": ""}, "url", InvalidListener),
        ({"url": "ftp://example.com/"}, "url", InvalidListener),
        ({"url": "http://example.com/"}, "url", InvalidListener),
        ({"url": "https://example.com:8443/"}, "url", InvalidListener),
        ({"url": "https://user:pw@example.com/"}, "url", InvalidListener),
        ({"url": "https://example.com/#x"}, "url", InvalidListener),
        ({"url": "https://2130706433/"}, "url", InvalidListener),
        ({"url": "https://example.com/" + "x" * 2048}, "url", InvalidListener),
        ({"url": "https://localhost/api/stats"}, "url", OwnAddress),
        ({"url": "https://[::1]/"}, "url", OwnAddress),
        ({"webhook_url": "https://127.0.0.1/api/x"}, "webhook", OwnAddress),
        ({"webhook_url": "gopher://x/"}, "webhook", InvalidListener),
        ({"check_interval_seconds": 899}, "checkInterval", IntervalTooShort),
        ({"check_interval_seconds": 0}, "checkInterval", InvalidListener),
        ({"check_interval_seconds": 31 * 86_400}, "checkInterval", InvalidListener),
        ({"namespace": "a b"}, "namespace", AgentCacheError),
        ({"namespace": "x" * 129}, "namespace", AgentCacheError),
        ({"tags": ("",)}, "tags", InvalidListener),
        ({"tags": ("a,b",)}, "tags", InvalidListener),
        ({"tags": tuple(map(str, range(33)))}, "tags", InvalidListener),
        ({"selector": "p["}, "selector", InvalidListener),
        ({"selector": "$["}, "selector", InvalidListener),
        ({"selector": "p" * 501}, "selector", InvalidListener),
        ({"selector": "p\n"}, "selector", None),
        ({"selector": "p\0q"}, "selector", InvalidListener),
    ],
)
def test_what_cannot_be_watched_is_refused_with_the_member_at_fault(sqlite_project, wanted, param, error):
    team = make_team()
    given = replace(Wanted(URL, 3600), **wanted)
    if error is None:
        assert services.register(team, given, sqlite_project, NOW, actor=NOBODY).selector == "p"
        return
    with pytest.raises(error) as caught:
        services.register(team, given, sqlite_project, NOW, actor=NOBODY)
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert not Listener.objects.exists()


def test_the_same_is_watched_once(register, team, change):
    first = register()
    with pytest.raises(ListenerExists, match=first.pk):
        register(tags=("other",))
    second = register(selector="h1")
    register(namespace="prod")
    with pytest.raises(ListenerExists):
        change(second, selector="")
    register(team=make_team("Others"))


@pytest.mark.parametrize("name", [name for name in PLANS if name is not PlanName.SELF_HOSTED])
def test_plans_hold(sqlite_project, name, monkeypatch):
    team, plan = make_team(), PLANS[name]
    set_plan(team, name, actor=NOBODY)
    least = plan.check_interval_minutes * 60
    few = replace(plan, listeners=2)
    monkeypatch.setattr("agentcache.listeners.services.listeners.plan_of", lambda _team: few)

    def register(path, seconds=least):
        wanted = Wanted(f"https://example.com/{path}", seconds)
        return services.register(team, wanted, sqlite_project, NOW, actor=NOBODY)

    with pytest.raises(IntervalTooShort, match=str(least * 1000)):
        register("a", least - 1)
    register("a")
    register("b")
    with pytest.raises(TooManyListeners, match="watches 2 sources") as caught:
        register("c")
    assert caught.value.status == 403


def test_another_source_begins_anew_and_other_changes_do_not(register, change):
    row = register()
    known = {"text_digest": b"t", "body_digest": b"b", "etag": '"e"', "failures_in_row": 2, "kind": "html"}
    Listener.objects.filter(pk=row.pk).update(**known)
    kept = change(row, tags=("x",))
    assert (bytes(kept.text_digest), kept.etag, kept.version) == (b"t", '"e"', 1)
    assert change(row, tags=("x",)).version == 1
    anew = change(row, url="https://example.org/b")
    assert (anew.text_digest, anew.etag, anew.failures_in_row, anew.host) == (b"", "", 0, "example.org")
    Listener.objects.filter(pk=row.pk).update(**known)
    assert change(row, selector="h1").text_digest == b""


def test_a_smaller_plan_forbids_shorter_intervals_only(register, change, team):
    row = register(seconds=900)
    set_plan(team, PlanName.PRO, actor=NOBODY)
    assert change(row, tags=("x",)).check_interval_seconds == 900
    assert change(row, check_interval_seconds=1800).check_interval_seconds == 1800
    with pytest.raises(IntervalTooShort):
        change(row, check_interval_seconds=1200)
    with pytest.raises(InvalidListener):
        change(row, check_interval_seconds=10**9)


def test_pausing_and_resuming(register, team):
    row = register()
    Listener.objects.filter(pk=row.pk).update(next_check_at=NOW + timedelta(hours=1))
    later = NOW + timedelta(minutes=1)
    assert services.check_now(team, row.pk, later).next_check_at == later
    paused = services.pause(team, row.pk, NOW, actor=NOBODY)
    services.pause(team, row.pk, NOW, actor=NOBODY)
    assert queries.state_of(paused) == "paused"
    with pytest.raises(ListenerPaused):
        services.check_now(team, row.pk, NOW)
    resumed = services.resume(team, row.pk, later, actor=NOBODY)
    assert (resumed.paused_because, resumed.next_check_at) == ("", later)
    assert [event.kind for event in queries.history(resumed)] == ["resumed", "paused"]
    services.delete(team, row.pk, actor=NOBODY)
    actions = AuditEvent.objects.filter(team_id=team.pk).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["listener.created", "listener.paused", "listener.resumed", "listener.deleted"]
    assert not ListenerEvent.objects.exists()


def test_a_foreign_listener_is_none(register, project):
    row, stranger = register(), make_team("Others")
    for use in (
        lambda: queries.get_listener(stranger, row.pk),
        lambda: services.change(stranger, row.pk, {"tags": ()}, project, NOW, actor=NOBODY),
        lambda: services.pause(stranger, row.pk, NOW, actor=NOBODY),
        lambda: services.resume(stranger, row.pk, NOW, actor=NOBODY),
        lambda: services.check_now(stranger, row.pk, NOW),
        lambda: services.delete(stranger, row.pk, actor=NOBODY),
    ):
        with pytest.raises(ListenerNotFound):
            use()
    assert queries.list_listeners(stranger).rows == []


@pytest.mark.parametrize(
    ("intervals", "freshness"), [(None, ""), (0.5, "fresh"), (1.05, "fresh"), (2, "stale"), (4, "expired")]
)
def test_freshness_is_told_by_the_interval(intervals, freshness):
    row = Listener(check_interval_seconds=3600)
    row.last_read_at = None if intervals is None else NOW - timedelta(hours=intervals)
    assert queries.freshness_of(row, NOW) == freshness


def test_lists_are_searched_and_continued(register, team):
    rows = [register(f"https://example.com/{number}") for number in range(5)]
    services.pause(team, rows[0].pk, NOW, actor=NOBODY)
    first = queries.list_listeners(team, limit=3)
    second = queries.list_listeners(team, limit=3, cursor=first.cursor)
    assert [row.pk for row in [*first.rows, *second.rows]] == [row.pk for row in reversed(rows)]
    assert second.cursor == ""
    assert [row.pk for row in queries.list_listeners(team, search="COM/4").rows] == [rows[4].pk]
    assert [row.pk for row in queries.list_listeners(team, state="paused").rows] == [rows[0].pk]
    assert queries.list_listeners(team, state="nonsense").rows == []
    counted = queries.counts(team, NOW)
    assert (counted.all, counted.paused, counted.failing, counted.changed_lately) == (5, 1, 0, 0)


def test_what_is_old_goes(register):
    row = register()
    for days in (1, 91):
        at = NOW - timedelta(days=days)
        ListenerEvent.objects.create(listener=row, kind=EventKind.FIRST, at=at, since=at)
    Host.objects.create(name="old.example", free_at=NOW - timedelta(hours=2))
    Host.objects.create(name="new.example", free_at=NOW)
    assert prune(NOW) == 1
    assert list(Host.objects.values_list("name", flat=True)) == ["new.example"]
