"""The JSON API of listeners: the roadmap's members, and who may what."""

import json

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.gateway.ports import Scope
from agentcache.listeners.models import Listener
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key
from tests.support.sessions import program_of, program_with_key, stranger
from tests.support.teams import join, make_team

WANTED = {
    "url": "https://example.com/prices", "checkInterval": 3_600_000, "namespace": "prod", "tags": ["prices"],
    "invalidateOnChange": True, "webhook": "https://hooks.example.com/t0ken", "selector": "#prices",
}  # fmt: skip


@pytest.fixture
def team(sqlite_project):
    return make_team()


@pytest.fixture
def member(team):
    return program_of(join(team, "member@example.com").user)


def send(program, method, path, body=None):
    content = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
    return getattr(program, method)(f"/api/listeners{path}", **content)


def registered(program, **members):
    answer = send(program, "post", "/register", {**WANTED, **members})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_the_roadmaps_contract(member):
    made = registered(member)
    assert {name: made[name] for name in WANTED} == WANTED
    assert (made["state"], made["freshness"], made["refreshOnChange"]) == ("waiting", None, False)
    assert send(member, "get", "").json()["listeners"] == [made]
    got = send(member, "get", f"/{made['id']}").json()
    assert got.pop("history") == []
    assert got == made
    changed = send(member, "patch", f"/{made['id']}", {"tags": [], "checkInterval": 7_200_000}).json()
    assert (changed["tags"], changed["checkInterval"], changed["selector"]) == ([], 7_200_000, "#prices")
    assert send(member, "post", f"/{made['id']}/check").status_code == 202
    assert send(member, "post", f"/{made['id']}/pause").json()["state"] == "paused"
    assert send(member, "post", f"/{made['id']}/check").status_code == 409
    assert send(member, "post", f"/{made['id']}/resume").json()["state"] == "waiting"
    assert [event["kind"] for event in send(member, "get", f"/{made['id']}").json()["history"]] == ["resumed", "paused"]
    assert send(member, "delete", f"/{made['id']}").status_code == 204
    assert send(member, "get", f"/{made['id']}").status_code == 404
    assert not Listener.objects.exists()


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"checkInterval": 60_000}, "checkInterval", "interval_too_short"),
        ({"checkInterval": 3_600_001}, "checkInterval", "invalid_request"),
        ({"checkInterval": "soon"}, "checkInterval", "invalid_request"),
        ({"checkInterval": -1}, "checkInterval", "invalid_request"),
        ({"url": "http://10.0.0.1/"}, "url", "invalid_listener"),
        ({"url": None}, "url", "invalid_request"),
        ({"tags": "prices"}, "tags", "invalid_request"),
        ({"interval": 5}, "interval", "invalid_request"),
        ({"selector": "p["}, "selector", "invalid_listener"),
        ({"webhook": "x"}, "webhook", "invalid_listener"),
        ({"namespace": "a b"}, "namespace", "invalid_directive"),
    ],
)
def test_bad_input_is_a_400_that_names_the_member(member, members, param, code):
    answer = send(member, "post", "/register", {**WANTED, **members})
    problem = answer.json()
    assert (answer.status_code, problem.get("param"), problem["code"]) == (400, param, code), problem
    made = registered(member)
    answer = send(member, "patch", f"/{made['id']}", members)
    if members != {"url": None}:
        assert (answer.status_code, answer.json().get("param")) == (400, param)


def test_who_may_what(team):
    owner = program_of(join(team, "owner@example.com", "owner").user)
    made = registered(owner)
    one = f"/{made['id']}"
    keys = {
        scope: program_with_key(create_api_key(current_secrets(), team, scope.value, scopes=[scope]).api_key)
        for scope in (Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ)
    }
    viewer = program_of(join(team, "viewer@example.com", "viewer").user)
    foreign = program_of(join(make_team("Others"), "other@example.com", "admin").user)
    uses = {
        "read": [("get", "", None), ("get", one, None)],
        "manage": [("patch", one, {"tags": ["x"]}), ("post", f"{one}/check", None), ("post", f"{one}/pause", None)],
    }
    expected = {
        (owner, "read"): 200, (owner, "manage"): 200, (viewer, "read"): 200, (viewer, "manage"): 403,
        (keys[Scope.CACHE_READ], "read"): 200, (keys[Scope.CACHE_READ], "manage"): 403,
        (keys[Scope.CACHE_WRITE], "read"): 403, (keys[Scope.CACHE_WRITE], "manage"): 200,
        (keys[Scope.STATS_READ], "read"): 403, (stranger(), "read"): 401, (stranger(), "manage"): 401,
    }  # fmt: skip
    for (program, what), status in expected.items():
        for method, path, body in uses[what]:
            answer = send(program, method, path, body)
            assert answer.status_code in ({200, 202, 409} if status == 200 else {status}), (
                method,
                path,
                answer.content,
            )
    for method, path, body in [
        *uses["read"][1:],
        *uses["manage"],
        ("delete", one, None),
        ("post", f"{one}/resume", None),
    ]:
        assert send(foreign, method, path, body).status_code == 404
    assert send(foreign, "get", "").json()["listeners"] == []
    assert send(viewer, "get", one).json()["webhook"] == "hooks.example.com"
    assert send(owner, "get", one).json()["webhook"] == WANTED["webhook"]
    send(keys[Scope.CACHE_WRITE], "patch", one, {"tags": ["by a key"]})
    by_key = AuditEvent.objects.filter(team_id=team.pk, target_id=made["id"]).exclude(actor_api_key_id="")
    assert by_key.exists()


def test_asking_anew_costs_money_so_admins_alone_may_have_it(member, team):
    writer = create_api_key(current_secrets(), team, "writer", scopes=[Scope.CACHE_WRITE]).api_key
    admin = program_of(join(team, "admin@example.com", "admin").user)
    one = f"/{registered(member)['id']}"
    changes = {"refreshOnChange": True}
    for who in (member, program_with_key(writer)):
        refused = send(who, "patch", one, changes)
        assert (refused.status_code, refused.json()["code"]) == (403, "refresh_not_allowed")
        assert send(who, "post", "/register", {**WANTED, **changes, "url": "https://example.com/b"}).status_code == 403
    assert send(admin, "patch", one, changes).json()["refreshOnChange"] is True
    # What an admin has switched on stays when others change the rest.
    assert send(member, "patch", one, {"tags": ["x"]}).json()["refreshOnChange"] is True
    assert send(member, "patch", one, {"refreshOnChange": False}).json()["refreshOnChange"] is False


def test_lists_continue_and_refuse_what_they_do_not_know(member):
    for number in range(3):
        registered(member, url=f"https://example.com/{number}")
    first = send(member, "get", "?limit=2").json()
    second = send(member, "get", f"?limit=2&cursor={first['cursor']}").json()
    assert len(first["listeners"]), len(second["listeners"]) == (2, 1)
    assert send(member, "get", "?state=waiting").json()["listeners"] != []
    for wrong in ("?state=x", "?limit=0", "?limit=201"):
        assert send(member, "get", wrong).status_code == 400, wrong


def test_the_same_twice_is_a_conflict_and_too_many_are_refused(member, monkeypatch):
    registered(member)
    assert send(member, "post", "/register", WANTED).status_code == 409
    monkeypatch.setattr("agentcache.listeners.services.listeners.LISTENERS_MAX", 1)
    answer = send(member, "post", "/register", {**WANTED, "url": "https://example.com/b"})
    assert (answer.status_code, answer.json()["code"]) == (403, "too_many_listeners")
