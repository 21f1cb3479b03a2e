"""Provider credentials: kept once tested, never shown, used for nothing else; by API and on pages."""

import json
import re

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.gateway.ports import Scope
from agentcache.prewarm import services
from agentcache.prewarm.models import ProviderCredential
from agentcache.teams import services as teams
from agentcache.teams.secrets import current_secrets
from tests.support.sessions import browser_of, program_of, program_with_key, stranger
from tests.support.teams import join, make_team

API = "/api/credentials"
PAGES = "/dashboard/credentials"
SECRET = "sk-of-the-team-8Qz4"
#: Route -> who may use it; those that need a fresh sign-in.
ROUTES = {
    ("GET", API): {"admin", "member", "key-admin"},
    ("PUT", f"{API}/openai"): {"admin", "key-admin"},
    ("POST", f"{API}/openai/test"): {"admin", "key-admin"},
    ("DELETE", f"{API}/openai"): {"admin", "key-admin"},
}
FRESH = {("PUT", f"{API}/openai")}
BODY = {"credential": SECRET}


def ask(program, method, path, body=None):
    text = "" if body is None else json.dumps(body)
    return program.generic(method, path, text, "application/json")


@pytest.fixture
def admin(people):
    return program_of(people["admin"].user)


@pytest.fixture
def kept(admin):
    answer = ask(admin, "PUT", f"{API}/openai", BODY)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_credential_is_tested_kept_sealed_and_shown_by_its_end_only(kept, admin, team, provider):
    assert (kept["provider"], kept["last_four"], kept["probe_outcome"], kept["probe_status"]) == (
        "openai", "8Qz4", "works", 200,
    )  # fmt: skip
    assert kept["set_by"] == "admin@example.com"
    (call,) = provider.calls
    assert (call.method, call.path, call.credential) == ("GET", "/v1/models", SECRET)
    row = ProviderCredential.objects.get()
    assert SECRET.encode() not in bytes(row.sealed)
    assert services.open_credential(current_secrets(), team, row) == SECRET
    shown = ask(admin, "GET", API).content.decode() + browser_page(admin)
    assert "8Qz4" in shown
    assert SECRET not in shown
    event = AuditEvent.objects.get(action="credential.kept")
    assert event.after == {"provider": "openai", "ends_with": "8Qz4"}
    assert SECRET not in json.dumps([event.before, event.after])


def browser_page(_admin):
    from agentcache.accounts.models import User

    return browser_of(User.objects.get(email="admin@example.com")).get(PAGES).content.decode()


@pytest.mark.parametrize("provider_name", ["openai", "anthropic", "replicate", "together"])
def test_each_provider_is_asked_in_its_own_way(provider_name, team, settings):
    from agentcache.audit.services import Actor
    from agentcache.prewarm.probing import find_dialect

    credential = {"anthropic": "sk-ant-12345678", "replicate": "r8_12345678"}.get(provider_name, "sk-12345678")
    dialect = find_dialect(settings, provider_name)
    row = services.keep_credential(current_secrets(), team, dialect, credential, actor=Actor.system())
    assert (row.probe_outcome, row.probe_status) == ("works", 200)


def test_what_the_provider_refuses_is_not_kept_and_leaves_the_former_one(kept, admin, provider, team):
    provider.script(status=401)
    refused = ask(admin, "PUT", f"{API}/openai", {"credential": "sk-another-one"})
    assert (refused.status_code, refused.json()["code"]) == (400, "credential_refused")
    assert refused.json()["param"] == "credential"
    assert "another" not in refused.content.decode()
    assert services.open_credential(current_secrets(), team, ProviderCredential.objects.get()) == SECRET


@pytest.mark.parametrize(
    ("script", "outcome", "status"),
    [
        ({"status": 401}, "refused", 401),
        ({"status": 500}, "unclear", 500),
        ({"status": 429}, "unclear", 429),
        ({"wire": "garbage"}, "unreachable", None),
    ],
)
def test_a_later_test_says_what_became_of_it(kept, admin, provider, script, outcome, status):
    provider.script(**script)
    tested = ask(admin, "POST", f"{API}/openai/test").json()
    assert (tested["probe_outcome"], tested["probe_status"]) == (outcome, status)
    assert ask(admin, "POST", f"{API}/openai/test").json()["probe_outcome"] == "works"
    assert AuditEvent.objects.filter(action="credential.tested").count() == 2


def test_replacing_keeps_one_and_deleting_none(kept, admin, team):
    ask(admin, "PUT", f"{API}/openai", {"credential": "sk-the-next-one-77xy"})
    row = ProviderCredential.objects.get()
    assert (row.last_four, services.open_credential(current_secrets(), team, row)) == ("77xy", "sk-the-next-one-77xy")
    assert AuditEvent.objects.get(action="credential.replaced").before == {"provider": "openai", "ends_with": "8Qz4"}
    assert ask(admin, "DELETE", f"{API}/openai").status_code == 204
    again = ask(admin, "DELETE", f"{API}/openai")
    assert (again.status_code, again.json()["code"]) == (404, "credential_not_found")
    assert ask(admin, "GET", API).json() == {"credentials": []}


@pytest.mark.parametrize(
    "credential", ["short", "with a blank in it", "sk-ü-not-ascii", "x" * 513, "ac_live_" + "a" * 40]
)
def test_what_is_no_credential_is_a_400_that_names_the_field(admin, provider, credential):
    answer = ask(admin, "PUT", f"{API}/openai", {"credential": credential})
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (
        400,
        "invalid_credential",
        "credential",
    )
    assert not provider.calls


def test_a_provider_that_the_server_lacks_is_not_there(admin):
    answer = ask(admin, "PUT", f"{API}/nobody", BODY)
    assert (answer.status_code, answer.json()["code"]) == (404, "provider_not_found")


def test_every_caller_gets_at_every_route_what_the_table_says(kept, team, people):
    programs = {role: program_of(row.user) for role, row in people.items()}
    for scope in Scope:
        key = teams.create_api_key(current_secrets(), team, scope.value, scopes=frozenset({scope}))
        programs[f"key-{scope.value}"] = program_with_key(key.api_key)
    other = join(make_team("Red Foxes"), "fox@example.com", "owner")
    for (method, path), allowed in ROUTES.items():
        for caller, program in programs.items():
            if caller in allowed and method == "DELETE":
                continue
            status = ask(program, method, path, BODY).status_code
            assert (status == 200) == (caller in allowed), (method, path, caller, status)
        assert ask(stranger(), method, path, BODY).status_code == 401
        if method != "PUT":
            assert ask(program_of(other.user), method, path).status_code == (200 if path == API else 404)
        old = program_of(people["admin"].user, signed_in_seconds_ago=16 * 60)
        if (method, path) in FRESH:
            assert ask(old, method, path, BODY).json()["code"] == "reauth_required"
    assert ask(program_of(other.user), "GET", API).json() == {"credentials": []}


def test_a_row_put_into_another_team_does_not_open(kept, team):
    from agentcache.kit.crypto import DecryptionFailed

    other = make_team("Red Foxes")
    row = ProviderCredential.objects.get()
    row.team = other
    with pytest.raises(DecryptionFailed):
        services.open_credential(current_secrets(), other, row)


def test_the_pages_from_none_to_one_and_back(people, provider):
    admin, member, viewer = (browser_of(people[role].user) for role in ("admin", "member", "viewer"))
    assert "No credentials yet" in admin.get(PAGES).content.decode()
    assert viewer.get(PAGES).status_code == member.get(f"{PAGES}/new").status_code == 403
    provider.script(status=403)
    refused = admin.post(f"{PAGES}/new", {"provider": "openai", "credential": SECRET})
    assert refused.status_code == 422
    assert "refuses this credential" in refused.content.decode()
    assert SECRET not in refused.content.decode()
    made = admin.post(f"{PAGES}/new", {"provider": "openai", "credential": SECRET}, follow=True)
    text = re.sub(r"\s+", " ", made.content.decode())
    assert "Its test says: works." in text
    assert "…8Qz4" in text
    assert "by admin@example.com" in text
    assert "Replace" not in member.get(PAGES).content.decode()
    provider.script(status=401)
    assert "refused (status 401)" in admin.post(f"{PAGES}/openai/test", follow=True).content.decode()
    assert "8Qz4" in admin.get(f"{PAGES}/openai/delete").content.decode()
    assert "is deleted" in admin.post(f"{PAGES}/openai/delete", follow=True).content.decode()
    assert not ProviderCredential.objects.exists()
