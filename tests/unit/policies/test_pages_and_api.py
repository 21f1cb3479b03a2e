"""The pages and the API of policies: the same services behind both."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.analytics import services as analytics
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.ports import NOT_NAMED, Scope
from agentcache.policies import past, queries, services
from agentcache.policies.drafts import MatchDraft, PolicyDraft
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key
from tests.support import usage
from tests.support.teams import join, make_team
from tests.support.usage import usage_event

SYSTEM = Actor.system()
FORM = {"name": "News", "is_on": "on", "stores": "on", "lifetime_seconds": "1h", "models": "gpt-5*, claude-*"}


def browser_of(member):
    """Return a browser that is signed in and says where its forms come from."""
    client = usage.browser_of(member)
    client.defaults["HTTP_ORIGIN"] = "http://127.0.0.1:8787"
    return client


@pytest.fixture
def team(sqlite_project):
    return make_team()


@pytest.fixture
def admin(team):
    return browser_of(join(team, "admin@example.com", "admin"))


@pytest.fixture
def viewer(team):
    return browser_of(join(team, "viewer@example.com", "viewer"))


def call(client, method, path="", body=None, **headers):
    data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = getattr(client, method)(f"/api/policies{path}", headers=headers, **data)
    return answer.status_code, json.loads(answer.content) if answer.content else None


def some_traffic(team):
    now = datetime.now(UTC)
    analytics.record_events([
        usage_event(
            team, at=now - timedelta(days=3) + timedelta(hours=hour), entry_key="ab" * 32, outcome="miss",
            cost_usd_nanos=10**9, temperature_milli=NOT_NAMED, sources="https://example.com/prices", reason="miss",
        )
        for hour in range(0, 48, 12)
    ])  # fmt: skip


def test_a_policy_is_made_changed_moved_and_removed_on_pages(team, admin):
    assert "No policy yet" in admin.get("/dashboard/policies").content.decode()
    assert admin.post("/dashboard/policies/new", FORM).status_code == 302
    (kept,) = queries.current_policies(team).drafts
    assert (kept.lifetime_seconds, kept.match.models, kept.stores) == (3600, ["gpt-5*", "claude-*"], True)
    page = admin.get(f"/dashboard/policies/{kept.id}").content.decode()
    assert 'value="1h"' in page and "gpt-5*, claude-*" in page
    changed = FORM | {"stale_while_revalidate_seconds": "5h", "ignore": "metadata.id\nseed", "based_on": "1"}
    assert admin.post(f"/dashboard/policies/{kept.id}", changed).status_code == 302
    (kept,) = queries.current_policies(team).drafts
    assert (kept.stale_while_revalidate_seconds, kept.ignore) == (18_000, ["metadata.id", "seed"])
    for typed, semantic in (("yes", True), ("no", False), ("", None)):
        based_on = queries.current_policies(team).version
        change = changed | {"semantic": typed, "based_on": str(based_on)}
        assert admin.post(f"/dashboard/policies/{kept.id}", change).status_code == 302
        assert queries.get_policy(team, kept.id).semantic is semantic
        assert "selected" in admin.get(f"/dashboard/policies/{kept.id}").content.decode()
    assert admin.post("/dashboard/policies/new?preset=docs", FORM | {"name": "Docs"}).status_code == 302
    docs = queries.current_policies(team).drafts[1]
    assert docs.preset == "docs"
    assert admin.post(f"/dashboard/policies/{docs.id}/move", {"to": "up"}).status_code == 302
    assert [draft.name for draft in queries.current_policies(team).drafts] == ["Docs", "News"]
    assert "Remove Docs?" in admin.get(f"/dashboard/policies/{docs.id}/remove").content.decode()
    assert admin.post(f"/dashboard/policies/{docs.id}/remove").status_code == 302
    assert "Removed Docs" in admin.get("/dashboard/policies/versions").content.decode()
    assert "Put in force again" in admin.get("/dashboard/policies/versions/6").content.decode()
    assert admin.post("/dashboard/policies/versions/6/restore").status_code == 302
    assert [draft.name for draft in queries.current_policies(team).drafts] == ["News", "Docs"]


def test_what_is_wrong_is_said_beside_its_field(team, admin):
    services.add_policy(team, PolicyDraft("Taken"), actor=SYSTEM)
    for wrong, said in (
        ({"lifetime_seconds": "soon"}, "Write a time such as"),
        ({"prompt": "(?=x)"}, "not a regular expression"),
        ({"ignore": "messages[0].content"}, "different questions would share an answer"),
        ({"name": "taken"}, "Two policies are called"),
        ({"source_hosts": "https://x"}, "is not a host"),
    ):
        answer = admin.post("/dashboard/policies/new", FORM | wrong)
        assert (answer.status_code, said in answer.content.decode()) == (422, True), wrong
    kept = queries.current_policies(team).drafts[0]
    late = admin.post(f"/dashboard/policies/{kept.id}", FORM | {"based_on": "0"})
    assert (late.status_code, "Somebody changed the policies" in late.content.decode()) == (422, True)
    assert queries.current_policies(team).version == 1


def test_a_dry_run_says_what_would_have_been_and_keeps_nothing(team, admin, viewer):
    some_traffic(team)
    answer = admin.post("/dashboard/policies/new", FORM | {"models": "", "lifetime_seconds": "18h", "dry_run": "1"})
    page = answer.content.decode()
    # Asked every 12 hours: the second and the fourth are hits.
    assert answer.status_code == 200 and "50.0 %" in page and "$2.00" in page and "This one" in page
    assert queries.current_policies(team).version == 0
    services.add_policy(team, PolicyDraft("Short", lifetime_seconds=60), actor=SYSTEM)
    page = viewer.get("/dashboard/policies/dry-run?days=5").content.decode()
    assert "0.0 %" in page and "Short" in page
    assert viewer.get("/dashboard/policies/dry-run?days=0").status_code == 422


def test_source_changes_are_found_by_listeners_and_named_by_invalidations(team, viewer):
    from agentcache.listeners.models import EventKind, Listener, ListenerEvent

    url, now = "https://example.com/prices", datetime.now(UTC)
    listener = Listener.objects.create(
        team=team, url=url, host="example.com", fingerprint="f", check_interval_seconds=60, next_check_at=now
    )
    for minutes, kind in ((300, EventKind.FIRST), (200, EventKind.CHANGED), (100, EventKind.CHANGED)):
        at = now - timedelta(minutes=minutes)
        ListenerEvent.objects.create(listener=listener, kind=kind, at=at, since=at)
    for named in ("https://example.com/other", url):
        audit.record(
            action="cache.invalidated", actor=SYSTEM, team_id=team.pk, target_kind="cache", target_id="x",
            after={"url": named},
        )  # fmt: skip
    changes = past.source_changes(team, now - timedelta(days=1))
    assert {source: len(times) for source, times in changes.items()} == {url: 3, "https://example.com/other": 1}
    assert changes[url] == sorted(changes[url])
    # The listener's change and the invalidation that it caused are one.
    at = now + timedelta(seconds=20)
    ListenerEvent.objects.create(listener=listener, kind=EventKind.CHANGED, at=at, since=at)
    assert len(past.source_changes(team, now - timedelta(days=1))[url]) == 3
    assert past.source_changes(make_team("Other"), now - timedelta(days=1)) == {}


def test_only_the_newest_requests_are_played(team, monkeypatch):
    some_traffic(team)
    monkeypatch.setattr(past, "REQUESTS_MAX", 3)
    played = past.play(team, [PolicyDraft("A", lifetime_seconds=10**6)], 7, datetime.now(UTC))
    assert (played.requests, played.is_cut, played.run.total.hits) == (3, True, 2)


def test_the_api_does_what_the_pages_do(team, admin):
    assert call(admin, "get") == (200, {"version": 0, "policies": []})
    status, presets = call(admin, "get", "/presets")
    assert status == 200 and [one["code"] for one in presets] == ["news", "pricing", "docs", "general"]
    given = presets[0]["policy"] | {"match": {"prompt": "(?i)news"}}
    status, news = call(admin, "post", "", given)
    assert status == 201 and news["stale_while_revalidate_seconds"] == 18_000
    status, first = call(admin, "post", "?place=0", {"name": "First", "stores": False})
    assert [one["name"] for one in call(admin, "get")[1]["policies"]] == ["First", "News"]
    assert call(admin, "post", f"/{news['id']}/move", {"place": 0})[1]["version"] == 3
    changed = {name: value for name, value in news.items() if name != "id"} | {"lifetime_seconds": 600}
    assert call(admin, "put", f"/{news['id']}", changed)[1]["lifetime_seconds"] == 600
    assert call(admin, "get", f"/{news['id']}")[1]["lifetime_seconds"] == 600
    assert call(admin, "delete", f"/{first['id']}") == (204, None)
    assert [one["version"] for one in call(admin, "get", "/versions?before=3")[1]] == [2, 1]
    assert len(call(admin, "get", "/versions/3")[1]["policies"]) == 2
    assert call(admin, "post", "/versions/2/restore")[1]["version"] == 6
    status, whole = call(
        admin, "put", "", {"policies": [changed | {"id": news["id"]}], "note": "Tidied", "based_on": 6}
    )
    assert (status, whole["version"], len(whole["policies"])) == (200, 7, 1)
    assert call(admin, "put", "", {"policies": [], "based_on": 6})[1]["code"] == "policies_changed"
    some_traffic(team)
    status, played = call(
        admin, "post", "/dry-run", {"days": 7, "policies": [{"name": "A", "lifetime_seconds": 64_800}]}
    )
    assert status == 200 and played["total"]["hit_ratio"] == 0.5 and played["total"]["saved_usd"] == "2.00"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "A", "lifetime_seconds": 0}, "lifetime_seconds"),
        ({"name": "A", "more": 1}, "more"),
        ({"name": "A", "match": {"prompt": "("}}, "prompt"),
        ({"name": "A", "match": {"model": "x"}}, "model"),
        ({"name": "A", "ignore": ["prompt"]}, "ignore"),
    ],
)
def test_bad_input_is_a_clear_refusal(team, admin, body, param):
    status, problem = call(admin, "post", "", body)
    assert (status, problem["param"]) == (400, param)


def test_who_may_and_who_may_not(team, viewer):
    services.add_policy(team, PolicyDraft("News", match=MatchDraft(models=["x"])), actor=SYSTEM)
    (kept,) = queries.current_policies(team).drafts
    assert call(viewer, "get")[0] == 200
    assert viewer.get("/dashboard/policies").status_code == 200
    for method, path, body in (
        ("post", "", {"name": "A"}),
        ("put", "", {"policies": []}),
        ("put", f"/{kept.id}", {"name": "A"}),
        ("delete", f"/{kept.id}", None),
        ("post", f"/{kept.id}/move", {"place": 0}),
        ("post", "/versions/1/restore", None),
    ):
        assert call(viewer, method, path, body)[0] == 403, path
    for path in ("new", kept.id, f"{kept.id}/remove"):
        assert viewer.get(f"/dashboard/policies/{path}").status_code == 403
    stranger = browser_of(join(make_team("Other"), "other@example.com", "admin"))
    assert call(stranger, "get", f"/{kept.id}")[0] == 404
    assert call(stranger, "get", "/versions/1")[0] == 404
    assert stranger.get(f"/dashboard/policies/{kept.id}").status_code == 404
    assert stranger.get("/dashboard/policies/versions/1").status_code == 404


def test_an_api_key_with_the_scope_manages_policies(team, client_of_key):
    admin, reader = client_of_key(Scope.ADMIN), client_of_key(Scope.CACHE_READ)
    assert call(admin, "post", "", {"name": "By key"})[0] == 201
    assert queries.list_versions(team)[0].api_key_id
    assert call(reader, "get")[0] == 403


@pytest.fixture
def client_of_key(team):
    from django.test import Client

    def make(scope):
        created = create_api_key(current_secrets(), team, f"key {scope.value}", scopes=frozenset({scope}))
        return Client(headers={"host": "127.0.0.1:8787", "x-agentcache-key": created.api_key})

    return make


def test_a_requests_page_names_the_policy_that_decided(team, viewer):
    kept = services.add_policy(team, PolicyDraft("News"), actor=SYSTEM)
    for policy, said in ((kept.id, "News"), ("gone-away", "Removed policy …e-away")):
        event = usage_event(
            team, outcome="miss", policy=policy, temperature_milli=250, tags="a,b", sources="https://x.test/y"
        )
        analytics.record_events([event])
        page = viewer.get(f"/dashboard/requests/{event.id}").content.decode()
        assert all(text in page for text in (said, "0.25", "a,b", "https://x.test/y"))


def test_a_refresh_costs_money_and_is_no_request(team, viewer):
    from agentcache.quotas import queries as quotas

    analytics.record_events([
        usage_event(team, outcome="stale", freshness="stale", reason="stale-while-revalidate"),
        usage_event(team, outcome="refresh", requests=0, cost_usd_nanos=10**9, upstream_us=5_000, reason="stale"),
    ])  # fmt: skip
    use = quotas.usage_of(team, datetime.now(UTC))
    assert (use.requests, use.cost_usd_nanos) == (1, 10**9)
    page = viewer.get("/dashboard/requests").content.decode()
    assert "Refresh" in page and "Served stale" in page
    chart = viewer.get("/dashboard/analytics/freshness?period=24h").content.decode()
    assert "Answers from the cache, by freshness" in chart and "0.0 % of 1 answers" in chart
