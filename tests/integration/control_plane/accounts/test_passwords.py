from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import identify_hasher
from django.db import connections

from agentcache.accounts import hashing
from agentcache.accounts.models import AttemptCount, MailedLink
from tests.support.accounts import PASSWORD, Person, letters, stranger
from tests.support.guarded import wait_until
from tests.support.reliability import record

on_sqlite = pytest.mark.usefixtures("sqlite_project")
#: Where the database decides.
on_both = pytest.mark.usefixtures("project")
_NEW = "gravel moth tunes kettle"


def _asked_for(person, **headers):
    assert stranger().post("/forgot-password", {"email": person.email}, **headers).status_code == 202
    return letters(person.email)[-1]


@on_both
def test_of_fifty_parallel_redemptions_one_succeeds():
    ada = Person().join()
    token = _asked_for(ada).token

    def redeem(number):
        try:
            # Each from elsewhere, so that what is met is the link and not a limit.
            answer = stranger(address=f"203.0.{number}.1").post(
                "/reset-password", {"token": token, "password": f"{_NEW} {number}"}
            )
            return number, answer.status_code, answer.json().get("code")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(redeem, range(50)))
    successes = [number for number, status, _ in answers if status == 200]
    assert len(successes) == 1
    assert {code for _, status, code in answers if status != 200} <= {"link_invalid", "sign_in_busy"}
    ada.password = f"{_NEW} {successes[0]}"
    assert ada.sign_in().status_code == 200
    assert [mail.template for mail in letters(ada.email)].count("password-changed") == 1
    record("A7", parallel_redemptions=50, successes=1)


@on_sqlite
def test_a_reset_ends_every_session_tells_the_owner_and_does_not_sign_in():
    ada = Person().join()
    ada.sign_in()
    token = _asked_for(ada).token
    visitor = stranger()
    answer = visitor.post("/reset-password", {"token": token, "password": _NEW})
    assert answer.json() == {"status": "password_changed"} and "X-Session-Token" not in answer.headers
    assert not ada.is_in and not visitor.is_in
    assert ada.sign_in().status_code == 401
    ada.password = _NEW
    assert ada.sign_in().status_code == 200
    assert letters(ada.email)[-1].template in {"password-changed", "new-device"}


@on_both
def test_a_link_dies_by_use_by_age_and_by_a_newer_one():
    ada = Person().join()
    first = _asked_for(ada).token
    second = _asked_for(ada).token
    body = {"password": _NEW}
    assert stranger().post("/reset-password", {"token": first, **body}).json()["code"] == "link_invalid"
    MailedLink.objects.filter(used_at__isnull=True).update(expires_at="2020-01-01T00:00:00Z")
    assert stranger().post("/reset-password", {"token": second, **body}).json()["code"] == "link_invalid"
    third = _asked_for(ada).token
    # A password that is refused costs nothing.
    assert (
        stranger().post("/reset-password", {"token": third, "password": "short"}).json()["code"] == "password_rejected"
    )
    assert stranger().post("/reset-password", {"token": third, **body}).status_code == 200
    assert stranger().post("/reset-password", {"token": third, **body}).json()["code"] == "link_invalid"


@on_sqlite
@pytest.mark.parametrize("token", ["", "x", "\0", "é" * 40, "A" * 43])
def test_a_token_that_nobody_was_sent_opens_nothing(token):
    Person().join()
    assert stranger().post("/reset-password", {"token": token, "password": _NEW}).json()["code"] == "link_invalid"
    assert stranger().post("/verify", {"token": token}).json()["code"] == "link_invalid"


@on_sqlite
def test_links_of_one_kind_are_no_links_of_another():
    ada = Person().join()
    reset = _asked_for(ada).token
    assert stranger().post("/verify", {"token": reset}).status_code == 400
    bob = Person(email="bob@example.com")
    bob.register()
    verify = letters(bob.email)[-1].token
    assert stranger().post("/reset-password", {"token": verify, "password": _NEW}).status_code == 400


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x_forwarded_host": "evil.example"}, id="x-forwarded-host"),
        pytest.param({"x_forwarded_proto": "https", "x_forwarded_host": "evil.example"}, id="both"),
        pytest.param({"forwarded": "host=evil.example"}, id="forwarded"),
        pytest.param({"x_host": "evil.example", "x_original_url": "//evil.example/"}, id="others"),
        pytest.param({"host": "localhost:8787"}, id="another-name-of-ours"),
    ],
)
def test_links_are_built_from_the_settings_alone(headers):
    ada = Person().join()
    mail = _asked_for(ada, **headers)
    assert "http://127.0.0.1:8787/reset?token=" in mail.text
    assert "evil" not in mail.text + mail.html and "localhost" not in mail.text + mail.html
    record("A7", poisoned_links=0)


@on_sqlite
def test_a_foreign_host_gets_no_answer_at_all():
    answer = stranger().post("/forgot-password", {"email": "ada@example.com"}, host="evil.example")
    assert answer.status_code == 400
    assert letters() == []


@on_sqlite
def test_a_change_needs_the_password_of_now_and_a_fresh_sign_in():
    ada, elsewhere = Person().join(), Person()
    ada.sign_in()
    elsewhere.sign_in()
    assert ada.post("/password", {"current_password": "wrong", "new_password": _NEW}).status_code == 401
    assert ada.post("/password", {"current_password": PASSWORD, "new_password": _NEW}).status_code == 200
    assert ada.is_in and not elsewhere.is_in
    assert "password-changed" in [mail.template for mail in letters(ada.email)]


@on_sqlite
def test_the_kept_hash_is_argon2id_of_46_mib_and_is_no_password(real_hashes):
    ada = Person().join()
    kept = ada.user.password
    assert kept.startswith("argon2$argon2id$v=19$m=47104,t=2,p=1$")
    salt, tag = kept.split("$")[-2:]
    # 22 letters of 62 kinds are 131 bits; 32 bytes; both in base64.
    assert len(salt) == 30 and len(tag) == 43
    assert Person(password=kept).sign_in().status_code == 401
    assert Person(password=kept.partition("$")[2]).sign_in().status_code == 401


@on_sqlite
def test_a_hash_of_a_weaker_setting_is_renewed_at_the_next_sign_in(real_hashes, monkeypatch):
    ada = Person().join()
    monkeypatch.setattr(hashing.Argon2id, "memory_cost", 19 * 1024)
    user = ada.user
    user.set_password(PASSWORD)
    user.save()
    assert "m=19456" in ada.user.password
    monkeypatch.undo()
    assert ada.sign_in().status_code == 200
    assert "m=47104" in ada.user.password
    assert not identify_hasher(ada.user.password).must_update(ada.user.password)


@on_sqlite
def test_no_answer_holds_a_hash():
    ada = Person().join()
    ada.sign_in()
    seed, _ = ada.add_totp()
    answers = [ada.get(path).content for path in ("/me", "/sessions", "/factors", "/export")]
    answers += [ada.post("?action=me").content, ada.post("?action=get-api-key").content]
    shown = b" ".join(answers).decode()
    assert "argon2" not in shown and seed not in shown
    for link in MailedLink.objects.all():
        assert bytes(link.token_hash or b"none").hex() not in shown
    for row in ada.user.sessions.all():
        assert row.session_key not in shown
    record("A5", answers=len(answers), hashes_shown=0)


@on_sqlite
def test_a_password_that_is_too_long_costs_no_hash(monkeypatch):
    Person().join()
    hashed = []
    monkeypatch.setattr(hashing.Argon2id, "verify", lambda *given: hashed.append(given) or False)
    assert Person(password="x" * 4097).sign_in().status_code == 401
    assert Person(password="half \ud83d a character, and more").sign_in().status_code in {400, 401}
    assert hashed == []


@on_sqlite
@pytest.mark.parametrize("email", ["ada@example.com\r\nBcc: evil@example.com", "ada@", "@example.com", "a b@example.com", "x" * 300 + "@example.com", "ada@example.com,evil@example.com", ""])  # fmt: skip
@pytest.mark.parametrize("path", ["/forgot-password", "/resend-verification", "/register"])
def test_what_is_no_address_gets_no_mail(email, path):
    body = {"email": email}
    assert stranger().post(path, body).json()["code"] == "invalid_email"
    assert letters() == []
    assert AttemptCount.objects.count() == 0


@on_sqlite
def test_who_waits_for_a_slot_is_bounded_and_the_next_is_asked_to_come_back():
    slots = hashing.Slots(2, 3)
    entered, release = [], threading.Event()

    def work(number):
        try:
            with slots.slot():
                entered.append(number)
                release.wait(10)
        except hashing.TooManyHashes:
            return 503
        return 200

    with ThreadPoolExecutor(8) as pool:
        doing = [pool.submit(work, number) for number in range(8)]
        wait_until(lambda: sum(future.done() for future in doing) == 3, 60, "those who found the queue full")
        assert len(entered) == 2
        release.set()
        statuses = [future.result() for future in doing]
    assert sorted(statuses) == [200] * 5 + [503] * 3
