"""The API of webhooks and jobs: every route against every kind of caller, and what it answers."""

import asyncio
import json
import re
from dataclasses import dataclass

import jsonschema
import pytest
from django.db import transaction

from agentcache.gateway.ports import Scope
from agentcache.teams import services as teams
from agentcache.teams.secrets import current_secrets
from agentcache.web.api import api
from agentcache.webhooks.event_types import EVENT_TYPES
from tests.support.reliability import record
from tests.support.sessions import program_of, program_with_key, stranger
from tests.support.teams import join, make_team

HOOKS = "/api/webhooks"
READERS = {"admin", "member", "key-admin"}
WATCHERS = {"admin", "member", "viewer", "key-admin", "key-cache:write"}
ADMINS = {"admin", "key-admin"}
NEW = {"url": "https://hooks.example.com/new", "event_types": ["cache.invalidated"]}
RANGE = {"since": "2026-01-01T00:00:00Z", "until": "2036-01-01T00:00:00Z", "state": "failed"}


@dataclass(frozen=True)
class Route:
    """Who may use a route, and what one use looks like."""

    allowed: set[str]
    body: object = None
    fresh: bool = False


ROUTES = {
    ("GET", f"{HOOKS}/event-types"): Route(READERS),
    ("GET", f"{HOOKS}/endpoints"): Route(READERS),
    ("POST", f"{HOOKS}/endpoints"): Route(ADMINS, NEW, fresh=True),
    ("GET", f"{HOOKS}/endpoints/{{endpoint_id}}"): Route(READERS),
    ("PATCH", f"{HOOKS}/endpoints/{{endpoint_id}}"): Route(ADMINS, {"description": "CRM"}, fresh=True),
    ("DELETE", f"{HOOKS}/endpoints/{{endpoint_id}}"): Route(ADMINS),
    ("POST", f"{HOOKS}/endpoints/{{endpoint_id}}/rotate"): Route(ADMINS, {}, fresh=True),
    ("POST", f"{HOOKS}/endpoints/{{endpoint_id}}/test"): Route(ADMINS, {"event_type": "cache.hit"}),
    ("POST", f"{HOOKS}/endpoints/{{endpoint_id}}/redeliver"): Route(ADMINS, RANGE),
    ("GET", f"{HOOKS}/deliveries"): Route(READERS),
    ("GET", f"{HOOKS}/deliveries/{{delivery_id}}"): Route(READERS),
    ("POST", f"{HOOKS}/deliveries/{{delivery_id}}/redeliver"): Route(ADMINS),
    ("GET", "/api/jobs"): Route(WATCHERS),
    ("GET", "/api/jobs/{job_id}"): Route(WATCHERS),
    ("POST", "/api/jobs/{job_id}/cancel"): Route(WATCHERS - {"viewer"}),
}


@pytest.fixture
def places(endpoint, delivery, task):
    return {"endpoint_id": endpoint.pk, "delivery_id": delivery.pk, "job_id": task.pk}


@pytest.fixture
def callers(team, people):
    programs = {role: program_of(row.user) for role, row in people.items()}
    other = make_team("Red Foxes")
    programs["foreign-owner"] = program_of(join(other, "fox@example.com", "owner").user)
    programs["anonymous"] = stranger()
    for scope in Scope:
        key = teams.create_api_key(current_secrets(), team, scope.value, scopes=frozenset({scope}))
        programs[f"key-{scope.value}"] = program_with_key(key.api_key)
    foreign = teams.create_api_key(current_secrets(), other, "foreign", scopes=frozenset(Scope))
    programs["key-foreign"] = program_with_key(foreign.api_key)
    return programs


def ask(program, method, path, body=None):
    text = "" if body is None else json.dumps(body)
    return program.generic(method, path, text, "application/json")


def undone(program, method, path, body=None):
    """Call, and take back whatever it did."""
    with transaction.atomic():
        answer = ask(program, method, path, body)
        transaction.set_rollback(True)
    return answer


def test_every_route_is_in_the_table():
    written = {
        (method, f"/api{prefix}{path_name}".rstrip("/"))
        for prefix, router in api._routers
        if prefix in ("/webhooks", "/jobs")
        for path_name, view in router.path_operations.items()
        for operation in view.operations
        for method in operation.methods
    }
    assert written == set(ROUTES)


def test_t6_every_caller_gets_at_every_route_what_the_table_says(places, callers):
    wrong, cells = [], 0
    for (method, path), route in ROUTES.items():
        for caller, program in callers.items():
            status = undone(program, method, path.format(**places), route.body).status_code
            cells += 1
            if caller == "anonymous":
                due = {401}
            elif caller in ("foreign-owner", "key-foreign"):
                # Their own team's lists are empty; another's ids are not there.
                due = {404} if "{" in path else {200, 201}
            else:
                due = {200, 201, 202, 204} if caller in route.allowed else {403}
            if status not in due:
                wrong.append((method, path, caller, status, due))
    assert wrong == []
    record("T6 webhooks", cells=cells, routes=len(ROUTES), callers=len(callers))


def test_an_old_sign_in_aims_nothing_and_is_shown_no_secret(places, people):
    program = program_of(people["admin"].user, signed_in_seconds_ago=16 * 60)
    for (method, path), route in ROUTES.items():
        answer = undone(program, method, path.format(**places), route.body)
        stale = answer.status_code == 403 and answer.json()["code"] == "reauth_required"
        assert stale == route.fresh, (method, path, answer.status_code)


def test_an_endpoint_from_its_making_to_its_end(people):
    admin = program_of(people["admin"].user)
    made = ask(admin, "POST", f"{HOOKS}/endpoints", NEW)
    assert made.status_code == 201
    endpoint = made.json()["endpoint"]
    assert made.json()["secret"].startswith("whsec_")
    here = f"{HOOKS}/endpoints/{endpoint['id']}"
    changed = ask(admin, "PATCH", here, {"event_types": ["cache.hit"], "hits_per_mille": 5}).json()
    assert (changed["event_types"], changed["hits_per_mille"], changed["url"]) == (["cache.hit"], 5, NEW["url"])
    assert (endpoint["signs_with_key"], endpoint["public_keys"]) == (False, [])
    (key,) = ask(admin, "PATCH", here, {"signs_with_key": True}).json()["public_keys"]
    assert re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=", key)
    rotated = ask(admin, "POST", f"{here}/rotate", {"overlap_hours": 1}).json()
    assert rotated["endpoint"]["public_keys"][1] == key != rotated["endpoint"]["public_keys"][0]
    assert rotated["secret"] != made.json()["secret"]
    sent = ask(admin, "POST", f"{here}/test", {"event_type": "quota.threshold"})
    assert (sent.status_code, sent.json()["is_test"], sent.json()["state"]) == (202, True, "waiting")
    off = ask(admin, "PATCH", here, {"is_enabled": False}).json()
    assert (off["is_enabled"], off["disabled_because"]) == (False, "person")
    refused = ask(admin, "POST", f"{here}/test", {"event_type": "quota.threshold"})
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_off")
    assert ask(admin, "DELETE", here).status_code == 204
    assert ask(admin, "GET", here).status_code == 404


def test_a_delivery_shows_what_was_sent_and_every_try(people, places, delivery):
    shown = ask(program_of(people["member"].user), "GET", f"{HOOKS}/deliveries/{delivery.pk}").json()
    assert json.loads(shown["body"])["type"] == "cache.invalidated"
    [attempt] = shown["attempts"]
    assert (attempt["status"], attempt["response"]) == (500, "<script>alert(1)</script> not now")
    assert (shown["state"], shown["tries"], shown["last_status"]) == ("waiting", 1, 500)


@pytest.mark.parametrize(
    ("query", "found"),
    [("", 1), ("state=waiting", 1), ("state=failed", 0), ("event_type=cache.hit", 0), ("endpoint_id=none", 0)],
)
def test_deliveries_are_narrowed(query, found, people, places):
    answer = ask(program_of(people["member"].user), "GET", f"{HOOKS}/deliveries?{query}")
    assert len(answer.json()["deliveries"]) == found


def test_lists_go_on_where_they_ended(team, people, endpoint):
    from agentcache.audit.services import Actor
    from agentcache.webhooks import services

    for _ in range(5):
        services.send_test(team, endpoint.pk, "cache.hit", actor=Actor.system())
    program, seen, cursor = program_of(people["member"].user), [], ""
    while True:
        page = ask(program, "GET", f"{HOOKS}/deliveries?limit=2&cursor={cursor}").json()
        seen += [row["id"] for row in page["deliveries"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "/endpoints", {**NEW, "url": "http://127.0.0.1/"}, "url"),
        ("POST", "/endpoints", {**NEW, "event_types": ["all"]}, "event_types"),
        ("POST", "/endpoints", {**NEW, "secret": "mine"}, "secret"),
        ("POST", "/endpoints", {"url": NEW["url"]}, "event_types"),
        ("PATCH", "/endpoints/{endpoint_id}", {"hits_per_mille": 2000}, "hits_per_mille"),
        ("POST", "/endpoints/{endpoint_id}/rotate", {"overlap_hours": 1000}, "overlap_hours"),
        ("POST", "/endpoints/{endpoint_id}/test", {"event_type": "all"}, "event_type"),
        ("POST", "/endpoints/{endpoint_id}/redeliver", {**RANGE, "until": RANGE["since"]}, "until"),
        ("POST", "/endpoints/{endpoint_id}/redeliver", {**RANGE, "since": "yesterday"}, "since"),
        ("GET", "/deliveries?state=lost", None, "state"),
        ("GET", "/deliveries?limit=0", None, "limit"),
    ],
)
def test_what_is_wrong_is_named(method, path, body, param, people, places):
    answer = ask(program_of(people["admin"].user), method, f"{HOOKS}{path.format(**places)}", body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["param"] == param


def test_event_types_come_with_schemas_that_their_samples_fit(people):
    shown = ask(program_of(people["member"].user), "GET", f"{HOOKS}/event-types").json()["event_types"]
    assert [one["name"] for one in shown] == list(EVENT_TYPES)
    for one in shown:
        jsonschema.Draft202012Validator.check_schema(one["schema"])
        jsonschema.validate(one["sample"], one["schema"])
        assert one["description"]


def test_a_range_is_sent_again_as_a_job_that_can_be_watched_and_cancelled(people, places, endpoint):
    admin = program_of(people["admin"].user)
    started = ask(admin, "POST", f"{HOOKS}/endpoints/{endpoint.pk}/redeliver", RANGE)
    job = started.json()
    assert (started.status_code, job["kind"], job["state"]) == (202, "webhooks.redeliver", "queued")
    listed = ask(admin, "GET", "/api/jobs?state=queued").json()["jobs"]
    assert job["id"] in [one["id"] for one in listed]
    cancelled = ask(admin, "POST", f"/api/jobs/{job['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["is_cancel_requested"]) == (202, True)
    assert ask(admin, "GET", f"/api/jobs/{job['id']}").json()["lines"] == []


def test_w9_a_secret_is_shown_once(people, caplog):
    admin = program_of(people["admin"].user)
    made = ask(admin, "POST", f"{HOOKS}/endpoints", {**NEW, "event_types": list(EVENT_TYPES)}).json()
    here = f"{HOOKS}/endpoints/{made['endpoint']['id']}"
    secrets = [made["secret"], ask(admin, "POST", f"{here}/rotate", {}).json()["secret"]]
    sent = ask(admin, "POST", f"{here}/test", {"event_type": "cache.hit"}).json()
    team_id = people["admin"].team_id
    looked_at = [
        "/api/account/export", f"/api/teams/{team_id}/audit", f"/api/teams/{team_id}/audit/export", f"{HOOKS}/endpoints",
        here, f"{HOOKS}/deliveries", f"{HOOKS}/deliveries/{sent['id']}", "/api/jobs", f"/api/teams/{team_id}",
    ]  # fmt: skip
    exhaust = [answer_text(ask(admin, "GET", path)) for path in looked_at]
    exhaust.append(answer_text(ask(admin, "PATCH", here, {"description": "again"})))
    exhaust += [record.getMessage() for record in caplog.records]
    found = sum(secret[len("whsec_") :] in text for secret in secrets for text in exhaust)
    assert found == 0
    record("W9", places_searched=len(exhaust), hits=found)


def answer_text(answer):
    assert answer.status_code == 200
    if not answer.streaming:
        return answer.content.decode()
    return asyncio.run(_collected(answer.streaming_content)).decode()


async def _collected(pieces):
    return b"".join([piece async for piece in pieces])
