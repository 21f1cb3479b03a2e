"""Every route of the teams API against every kind of caller (T6)."""

import json
from dataclasses import dataclass

import pytest
from django.db import transaction

from agentcache.audit.services import Actor
from agentcache.gateway.ports import Scope
from agentcache.teams import services
from agentcache.teams.models import Membership
from agentcache.teams.secrets import current_secrets
from agentcache.web.api import api
from tests.support.reliability import record
from tests.support.sessions import program_of, program_with_key, stranger
from tests.support.teams import join, make_team, make_user

SYSTEM = Actor.system()
TEAM = "/api/teams/{team}"
EVERYBODY = {"owner", "admin", "member", "viewer", "key-admin"}
ADMINS = {"owner", "admin"}


@dataclass(frozen=True)
class Route:
    """Who may use a route, and what one use looks like."""

    allowed: set[str]
    body: object = None
    #: Whether a session of somebody who signed in long ago is too old.
    fresh: bool = False
    #: Whether keys are told that only people may.
    people_only: bool = False


ROUTES = {
    ("GET", TEAM): Route(EVERYBODY),
    ("PATCH", TEAM): Route({*ADMINS, "key-admin"}, {"name": "Renamed"}),
    ("DELETE", TEAM): Route({"owner"}, {"name": "Blue Whales"}, fresh=True, people_only=True),
    ("POST", f"{TEAM}/open"): Route(EVERYBODY - {"key-admin"}, people_only=True),
    ("GET", f"{TEAM}/logo"): Route(EVERYBODY),
    ("PUT", f"{TEAM}/logo"): Route({*ADMINS, "key-admin"}, b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
    ("DELETE", f"{TEAM}/logo"): Route({*ADMINS, "key-admin"}),
    ("GET", f"{TEAM}/members"): Route(EVERYBODY),
    ("PATCH", f"{TEAM}/members/{{target}}"): Route(ADMINS, {"role": "viewer"}, fresh=True, people_only=True),
    ("GET", f"{TEAM}/members/{{target}}/keys"): Route(EVERYBODY),
    ("DELETE", f"{TEAM}/members/{{target}}"): Route(ADMINS, fresh=True, people_only=True),
    ("POST", f"{TEAM}/leave"): Route(EVERYBODY - {"key-admin"}, {}, people_only=True),
    ("POST", f"{TEAM}/transfer"): Route({"owner"}, {"member_id": "{target}"}, fresh=True, people_only=True),
    ("GET", f"{TEAM}/invitations"): Route(EVERYBODY),
    ("POST", f"{TEAM}/invitations"): Route(ADMINS, {"email": "new@example.com"}, fresh=True, people_only=True),
    ("POST", f"{TEAM}/invitations/{{invitation}}/resend"): Route(ADMINS, fresh=True, people_only=True),
    ("DELETE", f"{TEAM}/invitations/{{invitation}}"): Route(ADMINS, fresh=True, people_only=True),
    ("GET", f"{TEAM}/audit"): Route({*ADMINS, "key-admin"}),
    ("GET", f"{TEAM}/audit/export"): Route({*ADMINS, "key-admin"}, fresh=True),
}
#: Routes that are about the caller, not about a team.
OWN = {
    ("GET", "/api/teams"), ("POST", "/api/teams"), ("GET", "/api/teams/roles"),
    ("POST", "/api/teams/invitations/accept"),
}  # fmt: skip


@pytest.fixture
def places(team, owner):
    target = join(team, "target@example.com")
    join(team, "second-owner@example.com", "owner")
    invitation = services.invite(team, "guest@example.com", "viewer", by=owner, actor=SYSTEM)
    services.set_logo(team, b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", actor=SYSTEM)
    return {"team": team.pk, "target": target.pk, "invitation": invitation.pk}


@pytest.fixture
def callers(team, owner, admin, member):
    """Return a program for each kind of caller."""
    viewer = join(team, "viewer@example.com", "viewer")
    other = make_team("Red Foxes")
    removed = join(team, "removed@example.com", "admin")
    programs = {
        row.user.email.partition("@")[0]: program_of(row.user) for row in (owner, admin, member, viewer, removed)
    }
    services.remove_member(team, removed.pk, by=owner, actor=SYSTEM, revoke_keys=True)
    programs["foreign-owner"] = program_of(join(other, "fox@example.com", "owner").user)
    programs["anonymous"] = stranger()
    for scope in Scope:
        key = services.create_api_key(current_secrets(), team, scope.value, scopes=frozenset({scope}))
        programs[f"key-{scope.value}"] = program_with_key(key.api_key)
    foreign = services.create_api_key(current_secrets(), other, "foreign", scopes=frozenset(Scope))
    programs["key-foreign"] = program_with_key(foreign.api_key)
    revoked = services.create_api_key(current_secrets(), team, "revoked", scopes=frozenset(Scope))
    services.revoke_api_key(team, revoked.row.pk)
    programs["key-revoked"] = program_with_key(revoked.api_key)
    return programs


def expected(route, caller):
    """Return the status that a caller must get, or None for success."""
    if caller in ("anonymous", "key-revoked"):
        return 401
    if caller in ("removed", "foreign-owner", "key-foreign"):
        return 404
    return None if caller in route.allowed else 403


def call(program, method, path, body, places):
    address = path.format(**places)
    if isinstance(body, bytes):
        return program.generic(method, address, body, "image/png")
    text = "" if body is None else json.dumps(body).replace("{target}", places["target"])
    return program.generic(method, address, text, "application/json")


def undone(program, method, path, body, places):
    """Call, and take back whatever it did."""
    with transaction.atomic():
        answer = call(program, method, path, body, places)
        transaction.set_rollback(True)
    return answer


def test_every_route_of_teams_is_in_the_table():
    written = {
        (
            method,
            "/api"
            + path.replace("{team_id}", "{team}")
            .replace("{member_id}", "{target}")
            .replace("{invitation_id}", "{invitation}"),
        )
        for prefix, router in api._routers
        for path_name, view in router.path_operations.items()
        for operation in view.operations
        for method in operation.methods
        if (path := f"{prefix}{path_name}").startswith("/teams")
    }
    assert written == set(ROUTES) | OWN


def test_t6_every_caller_gets_at_every_route_what_the_table_says(places, callers):
    wrong, cells = [], 0
    for (method, path), route in ROUTES.items():
        for caller, program in callers.items():
            status = undone(program, method, path, route.body, places).status_code
            due = expected(route, caller)
            cells += 1
            if status != due and not (due is None and status < 300):
                wrong.append((method, path, caller, status, due))
    assert wrong == []
    record("T6", cells=cells, routes=len(ROUTES), callers=len(callers))


def test_an_old_sign_in_does_not_do_what_cannot_be_undone(places, owner):
    program = program_of(owner.user, signed_in_seconds_ago=16 * 60)
    for (method, path), route in ROUTES.items():
        answer = undone(program, method, path, route.body, places)
        stale = answer.status_code == 403 and answer.json()["code"] == "reauth_required"
        assert stale == route.fresh, (method, path, answer.status_code)


def test_keys_are_told_where_only_people_may(places, team):
    key = services.create_api_key(current_secrets(), team, "all", scopes=frozenset(Scope))
    program = program_with_key(key.api_key)
    for (method, path), route in ROUTES.items():
        answer = undone(program, method, path, route.body, places)
        refused = answer.status_code == 403 and answer.json()["code"] == "people_only"
        assert refused == route.people_only, (method, path, answer.status_code)


def test_a_foreign_team_is_answered_like_one_that_nobody_has(places, callers):
    nobodys = {**places, "team": "0" * 32}
    for (method, path), route in ROUTES.items():
        answers = [undone(callers["foreign-owner"], method, path, route.body, given) for given in (places, nobodys)]
        assert [answer.status_code for answer in answers] == [404, 404]
        bodies = [answer.json() for answer in answers]
        for body in bodies:
            body.pop("request_id", None)
            body.pop("instance", None)
        assert bodies[0] == bodies[1]


def test_foreign_members_and_invitations_are_not_there_for_an_owner_of_another_team(places, callers):
    theirs = Membership.objects.get(user__email="fox@example.com")
    mixed = {**places, "team": theirs.team_id}
    for (method, path), route in ROUTES.items():
        if "{target}" in path or "{invitation}" in path or "target" in json.dumps(str(route.body)):
            answer = undone(callers["foreign-owner"], method, path, route.body, mixed)
            assert answer.status_code == 404, (method, path)


def test_the_header_names_the_team_where_the_path_does_not(team, owner):
    from django.test import RequestFactory

    from agentcache.teams.access import TeamAuth
    from agentcache.teams.errors import TeamNotFound
    from agentcache.teams.permissions import Permission

    second = make_team("Red Foxes")
    join(second, owner.user, "viewer")
    make_team("Grey Owls")

    def asked(name):
        request = RequestFactory(HTTP_X_AGENTCACHE_TEAM=name).get("/api/stats")
        request.user, request.session = owner.user, {}
        return TeamAuth(Permission.STATS_READ)(request).team

    assert asked(second.pk) == second
    assert asked("red-foxes") == second
    with pytest.raises(TeamNotFound):
        asked("grey-owls")


def test_people_list_and_make_teams(project):
    program = program_of(make_user("ada@example.com"))
    assert program.get("/api/teams").json() == []
    made = program.post("/api/teams", {"name": "Blue Whales"}, "application/json")
    assert made.status_code == 201
    [row] = program.get("/api/teams").json()
    assert row["team"] == made.json()
    assert (row["role"], row["is_owner"], row["has_billing"]) == ("admin", True, True)
    assert "team.delete" in row["permissions"]
    for refused in (stranger(), stranger()):
        assert refused.get("/api/teams").status_code == 401
        assert refused.post("/api/teams", {"name": "X"}, "application/json").status_code == 401
        assert refused.get("/api/teams/roles").status_code == 401
