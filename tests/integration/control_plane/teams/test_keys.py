"""API keys from the API and the pages: made, shown once, rotated, revoked, reported as leaked."""

from __future__ import annotations

import re

import pytest

from agentcache.kit.api_keys import API_KEY_PATTERN
from agentcache.teams.models import ApiKey
from tests.support.sessions import browser_of, program_of, program_with_key, stranger
from tests.support.teams import mails_of

JSON = "application/json"


@pytest.fixture
def made(admin):
    answer = program_of(admin.user).post("/api/keys", {"name": "ci", "scopes": ["admin"]}, JSON)
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_rotated_key_works_for_its_overlap_and_a_reset_one_does_not(admin, made):
    program, place = program_of(admin.user), f"/api/keys/{made['key']['id']}"
    rotated = program.post(place + "/rotate", {}, JSON).json()
    assert rotated["key"]["state"] == "rotating"
    for value in (made["api_key"], rotated["api_key"]):
        assert program_with_key(value).get("/api/keys").status_code == 200
    program.post(place + "/reset", {}, JSON)
    assert program_with_key(made["api_key"]).get("/api/keys").json()["code"] == "rotated_key"
    assert program.post(place + "/revoke", {}, JSON).json()["state"] == "revoked"
    assert program_with_key(rotated["api_key"]).get("/api/keys").json()["code"] == "revoked_key"


def test_nobody_gives_more_than_they_may(member, made):
    program = program_of(member.user)
    asked = program.post("/api/keys", {"name": "up", "scopes": ["admin"]}, JSON)
    assert (asked.status_code, asked.json()["code"]) == (403, "scope_above_own")
    # A new value of an admin's key would be an admin's key.
    assert program.post(f"/api/keys/{made['key']['id']}/rotate", {}, JSON).status_code == 403


def test_a_session_that_is_not_fresh_makes_no_key(admin):
    asked = program_of(admin.user, signed_in_seconds_ago=16 * 60).post("/api/keys", {"name": "x"}, JSON)
    assert (asked.status_code, asked.json()["code"]) == (403, "reauth_required")


def test_a_key_is_held_to_its_networks(admin, made):
    place = f"/api/keys/{made['key']['id']}"
    program_of(admin.user).patch(place, {"allowed_networks": ["203.0.113.0/24"]}, JSON)
    refused = program_with_key(made["api_key"]).get("/api/keys")
    assert (refused.status_code, refused.json()["code"]) == (403, "address_not_allowed")


def test_a_leaked_key_ends_and_the_answer_tells_nothing(made):
    unknown = made["api_key"][:-1] + "!"
    answers = {
        stranger().post("/api/keys/leaked", {"api_key": key, "found_at": "https://example.com/a"}, JSON).content
        for key in (made["api_key"], unknown, made["api_key"])
    }
    assert answers == {b'{"status": "received"}'}
    assert ApiKey.objects.get(pk=made["key"]["id"]).revoked_because == "leaked"
    assert len(mails_of("api-key-leaked")) == 1


def test_the_page_shows_a_key_once_and_a_reload_makes_no_second_one(admin):
    browser = browser_of(admin.user)
    form = {"name": "web", "kind": "live", "scopes": ["cache:read"], "owner": "own", "once": "a", "is_hard": "on"}
    shown = browser.post("/dashboard/keys/new", form)
    assert shown.status_code == 201, shown.content
    row = ApiKey.objects.get(name="web")
    again = browser.post("/dashboard/keys/new", form)
    assert again.headers["Location"] == f"/dashboard/keys/{row.pk}"
    found = re.search(API_KEY_PATTERN, shown.content.decode())
    assert found is not None
    value = found[0]
    for page in ("", f"/{row.pk}", f"/{row.pk}/change", f"/{row.pk}/rotate", f"/{row.pk}/revoke", "/new"):
        answer = browser.get(f"/dashboard/keys{page}")
        assert answer.status_code == 200
        assert value not in answer.content.decode()
    assert value in browser.post(f"/dashboard/keys/{row.pk}/env", {"api_key": value}).content.decode()
