from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from agentcache.accounts import limits
from agentcache.accounts.errors import TooManyAttempts
from agentcache.accounts.limits import LIMITS, Door
from agentcache.accounts.models import AttemptCount
from tests.support.accounts import PASSWORD, Person, letters, stranger, totp
from tests.support.reliability import record

on_sqlite = pytest.mark.usefixtures("sqlite_project")
#: Where the database decides.
on_both = pytest.mark.usefixtures("project")


def _guess(person, times, **more):
    return [person.post("/login", {"email": "ada@example.com", "password": "wrong wrong wrong"}, **more).status_code for _ in range(times)]  # fmt: skip


@on_both
def test_the_eleventh_guess_is_refused_wherever_it_comes_from():
    Person().join()
    assert _guess(stranger(address="203.0.113.1"), 5) == [401] * 5
    assert _guess(stranger(address="203.0.113.2"), 5) == [401] * 5
    assert _guess(stranger(address="203.0.113.3"), 2) == [429] * 2
    # A header that anybody can write does not make another caller; there is no proxy of ours in this project.
    assert _guess(stranger(address="203.0.113.4"), 1, x_forwarded_for="192.0.2.1") == [429]
    # The right password does not help from there either, and the answer says when it might.
    refused = stranger(address="203.0.113.5").sign_in()
    assert refused.status_code == 429 and 1 <= int(refused.headers["Retry-After"]) <= 86400
    record("A3", door="login, 5 addresses", tries_let_through=10, owner_locked_out=0)


@on_sqlite
def test_one_address_tries_ten_accounts_and_no_more():
    answers = [stranger().post("/login", {"email": f"a{n}@example.com", "password": "wrong wrong"}).status_code for n in range(12)]  # fmt: skip
    assert answers == [401] * 10 + [429] * 2


@on_sqlite
def test_the_owner_gets_in_from_a_known_device_while_others_guess():
    ada = Person(is_browser=True).join()
    ada.sign_in()
    ada.post("/logout")
    _guess(stranger(address=ada.address), 12)
    assert stranger(address=ada.address).sign_in().status_code == 429
    assert ada.sign_in().status_code == 200
    # A known device has tries of its own, and not for ever.
    ada.post("/logout")
    wrong = [ada.post("/login", {"email": ada.email, "password": "wrong"}).status_code for _ in range(11)]
    assert wrong == [401] * 10 + [429]
    record("A3", door="login, known device", owner_locked_out=0)


@on_sqlite
def test_tries_that_succeed_cost_nothing():
    ada = Person().join()
    for _ in range(15):
        assert ada.sign_in().status_code == 200


@on_sqlite
def test_a_password_reset_lets_the_owner_in_again():
    ada = Person().join()
    _guess(stranger(), 11)
    stranger(address="203.0.113.8").post("/forgot-password", {"email": ada.email})
    token = letters(ada.email)[-1].token
    ada.password = PASSWORD + " again"
    assert ada.post("/reset-password", {"token": token, "password": ada.password}).status_code == 200
    ada.address = "203.0.113.9"
    assert ada.sign_in().status_code == 200


@on_sqlite
def test_all_second_factors_share_five_tries():
    ada = Person().join()
    ada.sign_in()
    secret, codes = ada.add_totp()
    assert ada.sign_in().json()["status"] == "second_factor_required"
    tries = ["000000", "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa", "000001", "zzzzz-aaaaa-aaaaa-aaaaa-aaaaa", "000002"]
    wrong = [ada.post("/login/second-factor", {"code": code}).status_code for code in tries]
    assert wrong == [401] * 5
    for address in ("198.51.100.7", "203.0.113.7"):
        ada.address = address
        assert ada.post("/login/second-factor", {"code": totp(secret)}).status_code == 429
        assert ada.post("/login/second-factor", {"code": codes[0]}).status_code == 429
    record("A3", door="second factor", tries_let_through=5)


@on_sqlite
@pytest.mark.parametrize(
    ("path", "body", "let_through"),
    [
        pytest.param("/resend-verification", {"email": "ada@example.com"}, 3, id="resend"),
        pytest.param("/forgot-password", {"email": "ada@example.com"}, 5, id="forgot"),
        pytest.param("?action=forgot-password", {"email": "ada@example.com"}, 5, id="forgot-by-action"),
        pytest.param("/register", {"email": "ada@example.com"}, 5, id="register"),
    ],
)
def test_mails_to_one_address_are_bounded_from_everywhere_together(path, body, let_through):
    answers = [stranger(address=f"203.0.{n}.1").post(path, body).status_code for n in range(let_through + 2)]
    assert answers == [202] * let_through + [429] * 2
    record("A3", door=path, tries_let_through=let_through)


@on_both
@pytest.mark.parametrize("door", [Door.LOGIN, Door.SECOND_FACTOR])
def test_parallel_tries_are_all_counted(door):
    first, second = LIMITS[door].account[:2]
    # Fewer than the longer limit: a try that was late could otherwise be refused by that one, and be missing here.
    tries = second.tries - 2

    def attempt(_number):
        try:
            limits.take(door, account="ada@example.com")
        except TooManyAttempts:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(tries))) == first.tries
    assert AttemptCount.objects.get(key__startswith=f"{door}/account/300/").count == tries


@on_both
def test_a_window_slides(monkeypatch):
    now = [300.0 * 1000]
    monkeypatch.setattr(limits.time, "time", lambda: now[0])
    now[0] += 290
    for _ in range(10):
        limits.take(Door.LOGIN, account="a")
    # Ten seconds later a new window begins, and the ten tries are still within the last five minutes.
    now[0] += 20
    with pytest.raises(TooManyAttempts) as refused:
        limits.take(Door.LOGIN, account="a")
    assert 0 < refused.value.retry_after_seconds <= 300
    now[0] += 600
    limits.take(Door.LOGIN, account="a")


@on_sqlite
def test_whoever_is_patient_waits_longer_and_a_hundred_failures_in_a_row_end_it(monkeypatch):
    now = [86400.0 * 1000]
    monkeypatch.setattr(limits.time, "time", lambda: now[0])
    let_through = 0
    for _ in range(3 * 24 * 12):
        now[0] += 300
        try:
            limits.take(Door.LOGIN, account="a")
        except TooManyAttempts:
            continue
        let_through += 1
    assert let_through <= 100
    record("A3", door="login, every five minutes for three days", tries_let_through=let_through)


@on_sqlite
def test_counts_name_nobody_and_are_forgotten():
    stranger().sign_in()
    assert not AttemptCount.objects.filter(key__contains="ada@").exists()
    assert not AttemptCount.objects.filter(key__contains="198.51").exists()
    AttemptCount.objects.update(ends_at="2020-01-01T00:00:00Z")
    limits.prune()
    assert AttemptCount.objects.count() == 0
