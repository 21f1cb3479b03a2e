from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from allauth.mfa.models import Authenticator as Row
from django.db import connections

from agentcache.accounts.models import AttemptCount
from agentcache.accounts.services import codes
from tests.support.accounts import PASSWORD, Person, forget_last_step, letters, stranger, totp
from tests.support.passkeys import Authenticator
from tests.support.reliability import record

on_sqlite = pytest.mark.usefixtures("sqlite_project")
#: Where the database decides.
on_both = pytest.mark.usefixtures("project")


@pytest.fixture
def ada():
    person = Person().join()
    person.sign_in()
    return person


def _passkey(ada, **given):
    device = Authenticator(**given)
    answer = ada.post(
        "/passkeys", {"credential": device.create(ada.post("/passkeys/options").json()), "name": "Laptop"}
    )
    assert answer.status_code == 201, answer.content
    return device, answer.json()["recovery_codes"]


@on_sqlite
@pytest.mark.parametrize(
    ("steps", "accepted"), [(-3, False), (-2, False), (-1, True), (0, True), (1, True), (2, False), (3, False)]
)
def test_a_code_is_good_for_its_half_minute_and_the_ones_beside_it(ada, monkeypatch, steps, accepted):
    secret, _ = ada.add_totp()
    # In the middle of a half minute, so that the test cannot straddle two.
    import time

    now = time.time() // 30 * 30 + 15
    monkeypatch.setattr(codes.time, "time", lambda: now)
    code = codes.format_hotp_value(codes.hotp_value(secret, int(now) // 30 + steps))
    assert codes.accept_totp(ada.user, code) is accepted
    if accepted:
        assert codes.accept_totp(ada.user, code) is False
    record("A13", factor="totp", steps=steps, wrongly_accepted=0)


@on_sqlite
def test_a_code_that_was_used_takes_all_earlier_ones_with_it(ada):
    secret, _ = ada.add_totp()
    assert codes.accept_totp(ada.user, totp(secret, 1))
    assert not codes.accept_totp(ada.user, totp(secret, 0))
    assert not codes.accept_totp(ada.user, totp(secret, -1))


@on_both
@pytest.mark.parametrize("kind", ["totp", "recovery"])
def test_of_parallel_tries_with_one_code_one_succeeds(ada, kind):
    secret, recovery = ada.add_totp()
    code, user = (totp(secret) if kind == "totp" else recovery[3]), ada.user

    def attempt(_number):
        try:
            return codes.accept(user, code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1
    record("A13", factor=kind, parallel=16, accepted=1)


@on_sqlite
def test_a_recovery_code_works_once_however_it_is_typed_and_ends_when_replaced(ada):
    _, recovery = ada.add_totp()
    assert len(set(recovery)) == 10 and all(len(code.replace("-", "")) == 25 for code in recovery)
    typed = recovery[0].upper().replace("-", " ")
    assert codes.accept(ada.user, typed) and not codes.accept(ada.user, recovery[0])
    assert ada.get("/factors").json()["recovery_codes_left"] == 9
    fresh = ada.post("/recovery-codes").json()["recovery_codes"]
    assert not codes.accept(ada.user, recovery[1]) and codes.accept(ada.user, fresh[1])


@on_sqlite
def test_seeds_and_codes_cannot_be_read_from_the_database(ada):
    secret, recovery = ada.add_totp()
    kept = json.dumps(list(Row.objects.values_list("data", flat=True)))
    assert secret not in kept and not any(code in kept or code.replace("-", "") in kept for code in recovery)


@on_both
def test_a_sign_in_needs_the_second_factor_and_a_reset_does_not_skip_it(ada):
    _, recovery = ada.add_totp()
    stranger().post("/forgot-password", {"email": ada.email})
    token = letters(ada.email)[-1].token
    ada.password = "eightsz!"
    # With a second factor eight characters are enough.
    assert stranger().post("/reset-password", {"token": token, "password": ada.password}).status_code == 200
    assert ada.sign_in().json()["factors"] == ["recovery_codes", "totp"]
    assert not ada.is_in
    assert ada.post("/login/second-factor", {"code": recovery[0]}).json()["status"] == "signed_in"
    # And the last factor stays until the password is long enough without it.
    assert ada.ask("DELETE", "/totp").json()["code"] == "factor_refused"
    change = {"current_password": ada.password, "new_password": PASSWORD}
    assert ada.post("/password", change).status_code == 200
    assert ada.ask("DELETE", "/totp").status_code == 204
    assert ada.get("/factors").json() == {"totp_since": None, "recovery_codes_left": 0, "passkeys": []}


@on_sqlite
def test_a_code_may_come_along_with_the_password(ada):
    secret, _ = ada.add_totp()
    assert ada.sign_in(code=totp(secret)).json()["status"] == "signed_in"
    assert ada.sign_in(code=totp(secret)).json()["code"] == "invalid_code"


@on_sqlite
def test_the_owner_is_told_of_every_change(ada):
    ada.add_totp()
    ada.post("/recovery-codes")
    _passkey(ada)
    ada.ask("DELETE", "/totp")
    told = [mail.text for mail in letters(ada.email) if mail.template == "factor-changed"]
    assert len(told) == 4
    assert all(words in text for words, text in zip(("app was added", "codes were replaced", "passkey was added", "app was removed"), told, strict=True))  # fmt: skip


@on_both
def test_a_passkey_signs_in_alone_finishes_a_sign_in_and_proves_again(ada):
    device, recovery = _passkey(ada)
    assert len(recovery) == 10
    alone = stranger()
    device.counter = 1
    assert alone.post("/login/passkey", {"credential": device.get(alone.post("/login/passkey-options").json())}).json()["status"] == "signed_in"  # fmt: skip
    assert alone.is_in
    second = Person()
    assert second.sign_in().json()["status"] == "second_factor_required"
    device.counter = 2
    assert second.post("/login/passkey", {"credential": device.get(second.post("/login/passkey-options").json())}).json()["status"] == "signed_in"  # fmt: skip
    device.counter = 3
    second.age(3600)
    assert second.get("/export").status_code == 403
    proof = {"credential": device.get(second.post("/login/passkey-options").json())}
    assert second.post("/reauthenticate", proof).status_code == 200
    assert second.get("/export").status_code == 200


_WRONG = {
    "origin": lambda device: setattr(device, "origin", "https://evil.example"),
    "origin with another port": lambda device: setattr(device, "origin", "http://127.0.0.1:9999"),
    "rp id": lambda device: setattr(device, "rp_id", "evil.example"),
    "counter stands": lambda device: setattr(device, "counter", 5),
    "counter goes back": lambda device: setattr(device, "counter", 4),
    "user not verified": lambda device: setattr(device, "verifies_user", False),
    "another key": lambda device: setattr(device, "key", Authenticator().key),
    "another credential": lambda device: setattr(device, "credential_id", b"x" * 32),
}


@on_sqlite
@pytest.mark.parametrize("wrong", [pytest.param(name, id=name.replace(" ", "-")) for name in _WRONG])
def test_a_wrong_passkey_is_refused_and_counted(ada, wrong):
    device, _ = _passkey(ada, counter=5)
    device.counter = 6
    _WRONG[wrong](device)
    tries = stranger(address="203.0.113.50")
    answer = tries.post("/login/passkey", {"credential": device.get(tries.post("/login/passkey-options").json())})
    assert answer.json()["code"] == "invalid_code"
    assert not tries.is_in
    assert AttemptCount.objects.filter(key__startswith="second-factor/network/", count=1).exists()
    record("A13", factor="passkey", wrong=wrong, accepted=0)


@on_sqlite
def test_an_answer_to_a_challenge_is_good_once_and_for_its_session_only(ada):
    device, _ = _passkey(ada)
    one, other = stranger(), stranger()
    device.counter = 1
    credential = device.get(one.post("/login/passkey-options").json())
    other.post("/login/passkey-options")
    assert other.post("/login/passkey", {"credential": credential}).status_code == 401
    assert one.post("/login/passkey", {"credential": credential}).status_code == 200
    assert one.post("/login/passkey", {"credential": credential}).status_code == 401


@on_sqlite
def test_a_passkey_of_somebody_else_does_not_finish_a_sign_in(ada):
    ada.add_totp()
    bob = Person(email="bob@example.com").join()
    bob.sign_in()
    device, _ = _passkey(bob)
    assert ada.sign_in().json()["status"] == "second_factor_required"
    device.counter = 1
    answer = ada.post("/login/passkey", {"credential": device.get(ada.post("/login/passkey-options").json())})
    assert answer.status_code == 401 and not ada.is_in


@on_sqlite
def test_passkeys_are_renamed_and_removed_by_their_owner_only(ada):
    _passkey(ada)
    [row] = ada.get("/factors").json()["passkeys"]
    bob = Person(email="bob@example.com").join()
    bob.sign_in()
    assert bob.ask("DELETE", f"/passkeys/{row['id']}").status_code == 404
    assert bob.ask("PATCH", f"/passkeys/{row['id']}", {"name": "mine"}).status_code == 404
    assert ada.ask("PATCH", f"/passkeys/{row['id']}", {"name": "Phone"}).status_code == 204
    assert ada.get("/factors").json()["passkeys"][0]["name"] == "Phone"
    assert ada.ask("DELETE", f"/passkeys/{row['id']}").status_code == 204


@on_sqlite
def test_there_is_nothing_to_finish_without_a_sign_in(ada):
    secret, _ = ada.add_totp()
    assert stranger().post("/login/second-factor", {"code": totp(secret)}).json()["code"] == "no_pending_login"
    forget_last_step(ada.user)
    # Somebody disabled between the two steps stays outside.
    assert ada.sign_in().json()["status"] == "second_factor_required"
    type(ada.user).objects.update(is_active=False)
    assert ada.post("/login/second-factor", {"code": totp(secret)}).json()["code"] == "no_pending_login"
