from __future__ import annotations

import pytest

from agentcache.web.api import api
from tests.support.accounts import PASSWORD, Person, totp
from tests.support.reliability import record

on_sqlite = pytest.mark.usefixtures("sqlite_project")

#: What cannot be undone or takes an account over: `reliability-security`, 3.2.
_NEED_A_FRESH_SESSION = {
    ("DELETE", "/me"): None,
    ("GET", "/export"): None,
    ("POST", "/password"): {"current_password": PASSWORD, "new_password": "gravel moth tunes kettle"},
    ("POST", "/email"): {"email": "new@example.com"},
    ("POST", "/totp"): None,
    ("POST", "/totp/confirm"): {"code": "000000"},
    ("DELETE", "/totp"): None,
    ("POST", "/recovery-codes"): None,
    ("POST", "/passkeys/options"): None,
    ("POST", "/passkeys"): {"credential": {}, "name": "x"},
    ("DELETE", "/passkeys/1"): None,
    ("POST", "?action=reset-api-key"): {},
}
#: What a session may do however old it is, because it can be undone or harms nobody.
_DO_NOT = {
    ("GET", "/me"), ("PATCH", "/me"), ("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/sessions/{session_id}"),
    ("GET", "/factors"), ("PATCH", "/passkeys/{passkey_id}"), ("POST", "/reauthenticate"), ("POST", "/logout"),
}  # fmt: skip


@on_sqlite
@pytest.mark.parametrize(("method", "path"), _NEED_A_FRESH_SESSION)
def test_an_old_sign_in_is_asked_to_prove_itself_and_can(method, path):
    ada = Person().join()
    ada.sign_in()
    ada.age(15 * 60 + 1)
    body = _NEED_A_FRESH_SESSION[method, path]
    refused = ada.ask(method, path, body)
    assert (refused.status_code, refused.json()["code"]) == (403, "reauth_required")
    assert ada.is_in
    assert ada.post("/reauthenticate", {"password": "wrong wrong"}).status_code == 401
    assert ada.post("/reauthenticate", {"password": PASSWORD}).status_code == 200
    answer = ada.ask(method, path, body)
    assert answer.status_code != 403
    record("A14", route=f"{method} {path}", missing_gates=0)


#: What strangers may do.
_PUBLIC = {
    ("POST", path)
    for path in (
        "/register", "/resend-verification", "/verify", "/login", "/login/second-factor", "/login/passkey-options",
        "/login/passkey", "/forgot-password", "/reset-password", "",
    )
}  # fmt: skip


@on_sqlite
def test_every_other_route_of_the_account_needs_a_fresh_session():
    ada = Person().join()
    ada.sign_in()
    ada.age(15 * 60 + 1)
    asked = 0
    for full_path, operations in api.get_openapi_schema(path_prefix="/api/")["paths"].items():
        if full_path != "/api/account" and not full_path.startswith("/api/account/"):
            continue
        path = full_path.removeprefix("/api/account")
        for method in (name.upper() for name in operations):
            if (method, path) in _PUBLIC | _DO_NOT:
                continue
            answer = ada.ask(method, path.replace("{passkey_id}", "1"), {})
            assert answer.json()["code"] == "reauth_required", (method, path)
            asked += 1
    assert asked == len([path for _, path in _NEED_A_FRESH_SESSION if not path.startswith("?")])
    record("A14", routes_asked=asked, missing_gates=0)


@on_sqlite
def test_a_code_proves_as_well_as_a_password_but_a_recovery_code_does_not():
    ada = Person().join()
    ada.sign_in()
    secret, recovery = ada.add_totp()
    ada.age(3600)
    assert ada.post("/reauthenticate", {"code": recovery[0]}).status_code == 401
    assert ada.post("/reauthenticate", {}).status_code == 401
    assert ada.post("/reauthenticate", {"code": totp(secret)}).status_code == 200
    assert ada.get("/export").status_code == 200


@on_sqlite
def test_a_proof_from_the_future_is_none():
    ada = Person().join()
    ada.sign_in()
    ada.age(-3600)
    assert ada.get("/export").json()["code"] == "reauth_required"
