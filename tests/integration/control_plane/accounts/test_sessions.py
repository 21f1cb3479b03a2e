from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client, override_settings

from agentcache.accounts import services
from agentcache.accounts.models import LoginSession, User
from agentcache.accounts.session_store import hash_session_id
from agentcache.settings import SettingError, Settings
from tests.support.accounts import HOST, PASSWORD, Person, letters, stranger, totp
from tests.support.reliability import record

on_sqlite = pytest.mark.usefixtures("sqlite_project")
#: Where the database decides.
on_both = pytest.mark.usefixtures("project")


def _passes(**time):
    LoginSession.objects.update(
        last_seen_at=F("last_seen_at") - timedelta(**time),
        expire_date=F("expire_date") - timedelta(**time),
        started_at=F("started_at") - timedelta(**time),
    )


def _is_old(**time):
    LoginSession.objects.update(started_at=F("started_at") - timedelta(**time))


def _reset(ada):
    stranger().post("/forgot-password", {"email": ada.email})
    token = letters(ada.email)[-1].token
    assert stranger().post("/reset-password", {"token": token, "password": PASSWORD + " 2"}).status_code == 200


def _change_elsewhere(ada):
    elsewhere = Person()
    elsewhere.sign_in()
    change = {"current_password": PASSWORD, "new_password": PASSWORD + " 3"}
    assert elsewhere.post("/password", change).status_code == 200
    assert elsewhere.is_in


def _use_after_change(ada):
    services.renew_sessions(ada.user)
    assert ada.is_in
    assert ada.is_in


#: Every way a session ends or changes its id, and what is done to bring that about.
_ENDS = {
    "logout": lambda ada: ada.post("/logout"),
    "idle": lambda ada: _passes(minutes=61),
    "absolute": lambda ada: _is_old(hours=12, minutes=1),
    "clock put forward": lambda ada: _passes(days=400),
    "disabled": lambda ada: services.disable(ada.user),
    "password reset": _reset,
    "password changed elsewhere": _change_elsewhere,
    "ended from the list": lambda ada: services.end_session(ada.user, ada.get("/sessions").json()["sessions"][0]["id"]),
    "rights changed": _use_after_change,
    "proved again": lambda ada: ada.post("/reauthenticate", {"password": ada.password}),
}


@on_both
@pytest.mark.parametrize("way", [pytest.param(way, id=name.replace(" ", "-")) for name, way in _ENDS.items()])
@pytest.mark.parametrize("by", ["cookie", "token"])
def test_an_id_that_ended_is_never_accepted_again(way, by):
    ada = Person(is_browser=by == "cookie").join()
    ada.sign_in()
    id_before = ada.token or ada.client.cookies["agentcache_session"].value
    assert ada.is_in
    way(ada)
    reuse = Client(HTTP_HOST=HOST)
    if by == "cookie":
        reuse.cookies["agentcache_session"] = id_before
        answer = reuse.get("/api/account/me")
    else:
        answer = reuse.get("/api/account/me", headers={"X-Session-Token": id_before})
    assert answer.status_code == 401
    record("A6", way=next(name for name, done in _ENDS.items() if done is way), by=by, reuse_accepted=0)


@on_sqlite
@pytest.mark.parametrize("by", ["cookie", "token"])
def test_an_id_given_by_somebody_else_is_not_taken_over(by):
    ada, planted = Person(is_browser=by == "cookie").join(), "planted-planted-planted-planted-planted-1234"
    if by == "cookie":
        ada.client.cookies["agentcache_session"] = planted
    answer = ada.post(
        "/login",
        {"email": ada.email, "password": ada.password},
        **({"x_session_token": planted} if by == "token" else {}),
    )
    assert answer.status_code == 200
    now = ada.client.cookies["agentcache_session"].value if by == "cookie" else answer.json()["session_token"]
    assert now != planted
    assert stranger(token=planted).get("/me").status_code == 401


@on_sqlite
def test_a_session_begun_before_signing_in_gets_a_new_id():
    ada = Person().join()
    ada.sign_in()
    secret, _ = ada.add_totp()
    ada.token = ""
    pending = ada.sign_in().json()
    assert pending["status"] == "second_factor_required" and pending["account"] is None
    assert not ada.is_in
    done = ada.post("/login/second-factor", {"code": totp(secret)}).json()
    assert done["session_token"] != pending["session_token"]
    assert stranger(token=pending["session_token"]).get("/me").status_code == 401
    assert stranger(token=done["session_token"]).get("/me").status_code == 200


@on_sqlite
def test_a_used_session_lives_on_until_the_absolute_limit():
    ada = Person().join()
    ada.sign_in()
    for _ in range(11):
        LoginSession.objects.update(
            last_seen_at=F("last_seen_at") - timedelta(minutes=59), expire_date=F("expire_date") - timedelta(minutes=59)
        )
        assert ada.is_in
    LoginSession.objects.update(started_at=F("started_at") - timedelta(hours=12))
    assert not ada.is_in


@on_both
def test_a_session_is_kept_for_longer_with_a_second_factor_only():
    ada = Person(is_browser=True).join()
    assert ada.sign_in(keep=True).json()["is_kept"] is False
    secret, codes = ada.add_totp()
    assert ada.sign_in(code=codes[0]).json()["is_kept"] is False
    short = ada.client.cookies["agentcache_session"]
    assert short["max-age"] == 12 * 3600
    # The wish counts where the second factor is given, and not before.
    assert ada.sign_in(keep=True).json()["status"] == "second_factor_required"
    assert ada.post("/login/second-factor", {"code": codes[1]}).json()["is_kept"] is False
    ada.sign_in()
    answer = ada.post("/login/second-factor", {"code": totp(secret), "keep": True})
    assert answer.json()["is_kept"] is True
    assert answer.cookies["agentcache_session"]["max-age"] == 7 * 86400
    assert [row["is_kept"] for row in ada.get("/sessions").json()["sessions"] if row["is_current"]] == [True]
    _passes(hours=23, minutes=59)
    assert ada.is_in
    LoginSession.objects.update(last_seen_at=F("last_seen_at") - timedelta(hours=24, minutes=1))
    assert not ada.is_in


@on_sqlite
def test_a_kept_session_ends_after_seven_days_however_much_it_is_used():
    ada = Person().join()
    ada.sign_in()
    _, codes = ada.add_totp()
    ada.sign_in(code=codes[0], keep=True)
    for _ in range(7):
        assert ada.is_in
        _passes(hours=23, minutes=59)
    assert ada.is_in
    _is_old(minutes=10)
    assert not ada.is_in
    record("A6", way="kept, absolute", by="token", reuse_accepted=0)


@on_sqlite
def test_limits_of_kept_sessions_can_be_lowered_and_count_at_once(sqlite_project):
    ada = Person().join()
    ada.sign_in()
    _, codes = ada.add_totp()
    ada.sign_in(code=codes[0], keep=True)
    _passes(hours=3)
    lowered = {"AGENTCACHE_KEPT_SESSION_IDLE_HOURS": "2", "AGENTCACHE_DATA_DIR": str(sqlite_project.data_dir)}
    LoginSession.objects.update(last_seen_at=F("last_seen_at") - timedelta(minutes=1))
    with override_settings(AGENTCACHE=Settings.from_env(lowered)):
        assert not ada.is_in
    assert ada.is_in
    for raised in ({"AGENTCACHE_KEPT_SESSION_IDLE_HOURS": "25"}, {"AGENTCACHE_KEPT_SESSION_DAYS": "8"}):
        with pytest.raises(SettingError):
            Settings.from_env(raised)


@on_sqlite
def test_operators_and_people_without_a_factor_any_more_are_not_kept():
    ada = Person().join()
    ada.sign_in()
    _, codes = ada.add_totp()
    elsewhere = Person()
    assert elsewhere.sign_in(code=codes[0], keep=True).json()["is_kept"] is True
    assert ada.sign_in(code=codes[1], keep=True).json()["is_kept"] is True
    assert ada.ask("DELETE", "/totp").status_code == 204
    assert ada.is_in and not elsewhere.is_in
    assert not any(row["is_kept"] for row in ada.get("/sessions").json()["sessions"])
    _passes(minutes=61)
    assert not ada.is_in
    User.objects.update(is_staff=True)
    ada.sign_in()
    _, codes = ada.add_totp()
    assert ada.sign_in(code=codes[0], keep=True).json()["is_kept"] is False


@on_sqlite
@pytest.mark.parametrize("is_browser", [True, False], ids=["cookie", "token"])
def test_a_session_that_is_there_is_no_second_factor(is_browser):
    bob = Person(email="bob@example.com").join()
    bob.sign_in()
    bob.add_totp()
    ada = Person(is_browser=is_browser).join()
    ada.sign_in()
    answer = ada.post("/login", {"email": bob.email, "password": bob.password})
    assert (answer.json()["status"], answer.json()["account"]) == ("second_factor_required", None)
    assert not ada.is_in


@on_sqlite
def test_a_clock_set_back_lets_nobody_in_who_was_out():
    ada = Person().join()
    ada.sign_in()
    ada.post("/logout")
    assert LoginSession.objects.count() == 0


@on_both
def test_sessions_are_listed_with_this_one_marked_and_ended_one_by_one_or_together():
    ada = Person(is_browser=True).join()
    ada.sign_in()
    other, third = Person(address="203.0.113.77"), Person(address="2001:db8:aaaa:bbbb::1")
    other.sign_in()
    third.sign_in()
    found = ada.get("/sessions").json()["sessions"]
    assert len(found) == 3
    [own] = [row for row in found if row["is_current"]]
    assert (own["browser"], own["system"], own["network"]) == ("Firefox", "Linux", "198.51.100.0")
    assert {row["network"] for row in found} == {"198.51.100.0", "203.0.113.0", "2001:db8:aaaa::"}
    [id_of_other] = [row["id"] for row in found if row["network"] == "203.0.113.0"]
    assert ada.ask("DELETE", f"/sessions/{id_of_other}").status_code == 204
    assert ada.ask("DELETE", f"/sessions/{id_of_other}").json()["code"] == "session_not_found"
    assert not other.is_in and third.is_in
    assert ada.ask("DELETE", "/sessions").json() == {"ended": 1}
    assert ada.is_in and not third.is_in


@on_sqlite
def test_nobody_ends_the_session_of_somebody_else():
    ada, bob = Person().join(), Person(email="bob@example.com").join()
    ada.sign_in()
    bob.sign_in()
    [row] = bob.get("/sessions").json()["sessions"]
    assert ada.ask("DELETE", f"/sessions/{row['id']}").status_code == 404
    assert bob.is_in


@on_both
def test_the_twenty_first_session_ends_the_oldest_and_the_owner_is_told():
    ada = Person().join()
    people = []
    for place in range(21):
        people.append(Person(address=f"203.0.{place}.1"))
        people[-1].sign_in()
        # One second apart, as people are.
        LoginSession.objects.update(last_seen_at=F("last_seen_at") - timedelta(seconds=1))
    assert LoginSession.objects.filter(user=ada.user).count() == 20
    assert not people[0].is_in and people[1].is_in and people[-1].is_in
    assert [mail.template for mail in letters()].count("oldest-session-ended") == 1


@on_sqlite
def test_a_new_device_is_told_once_and_the_first_and_known_ones_never():
    ada = Person(is_browser=True).join()
    ada.sign_in()
    ada.sign_in()
    assert letters() == []
    stranger(address="203.0.113.5").sign_in()
    stranger(address="203.0.113.6").sign_in()
    [mail] = letters()
    assert mail.template == "new-device"
    assert "test-program" in mail.text and "203.0.113.0" in mail.text


@on_sqlite
@pytest.mark.parametrize(
    ("headers", "cookie", "status"),
    [
        pytest.param({"sec_fetch_site": "same-origin"}, True, 204, id="own-page"),
        pytest.param({"sec_fetch_site": "none"}, True, 204, id="address-bar"),
        pytest.param({"sec_fetch_site": "cross-site"}, True, 403, id="other-site"),
        pytest.param({"sec_fetch_site": "same-site"}, True, 403, id="sister-site"),
        pytest.param({"sec_fetch_site": "cross-site", "origin": f"http://{HOST}"}, True, 403, id="fetch-site-wins"),
        pytest.param({"origin": f"http://{HOST}"}, True, 204, id="own-origin"),
        pytest.param({"origin": "https://evil.example"}, True, 403, id="other-origin"),
        pytest.param({"origin": "null"}, True, 403, id="null-origin"),
        pytest.param({"origin": f"http://{HOST}.evil.example"}, True, 403, id="origin-with-our-name"),
        pytest.param({}, True, 403, id="neither"),
        pytest.param({}, False, 204, id="token-alone"),
        pytest.param({"origin": "https://evil.example"}, False, 204, id="token-needs-no-origin"),
    ],
)
def test_only_our_own_pages_act_with_a_cookie(headers, cookie, status):
    ada = Person(is_browser=cookie).join()
    ada.sign_in()
    ada.is_browser = False
    assert ada.post("/logout", **headers).status_code == status


@on_sqlite
def test_a_foreign_page_cannot_sign_a_visitor_in():
    ada = Person().join()
    answer = ada.post("/login", {"email": ada.email, "password": PASSWORD}, sec_fetch_site="cross-site")
    assert answer.json()["code"] == "foreign_origin"


@on_sqlite
def test_browsers_get_a_cookie_that_scripts_cannot_read_and_programs_a_token():
    ada = Person(is_browser=True).join()
    answer = ada.sign_in()
    assert answer.json()["session_token"] is None
    cookie = answer.cookies["agentcache_session"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/" and not cookie["domain"]
    program = Person()
    answer = program.sign_in()
    assert "agentcache_session" not in answer.cookies
    assert LoginSession.objects.filter(session_key=hash_session_id(answer.json()["session_token"])).exists()


@on_sqlite
def test_signing_out_empties_the_browser_and_answers_are_never_kept():
    ada = Person(is_browser=True).join()
    assert ada.sign_in().headers["Cache-Control"] == "no-store"
    answer = ada.post("/logout")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert answer.cookies["agentcache_session"].value == ""
