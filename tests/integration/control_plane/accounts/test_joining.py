from __future__ import annotations

import pytest

from agentcache.accounts import services
from agentcache.accounts.models import MailedLink, User
from agentcache.audit.models import AuditEvent
from agentcache.mails.models import Mail
from agentcache.teams.queries import memberships_of
from tests.support.accounts import PASSWORD, Person, letters, stranger
from tests.support.reliability import record

pytestmark = pytest.mark.usefixtures("project")


def test_there_is_no_user_before_the_mailed_link_is_used_and_then_one_with_a_team():
    ada = Person(email="Ada@Example.com")
    ada.register()
    assert User.objects.count() == 0
    [mail] = letters("ada@example.com")
    assert mail.template == "verify"
    assert mail.token in mail.html
    assert ada.sign_in().json()["code"] == "invalid_credentials"
    assert ada.verify(mail.token).json() == {"status": "verified"}
    user = User.objects.get()
    assert user.email == "ada@example.com"
    [membership] = memberships_of(user)
    assert membership.is_owner and membership.role == "admin"
    assert AuditEvent.objects.filter(action="account.registered", target_id=user.pk).exists()
    assert ada.sign_in().json()["account"]["email"] == "ada@example.com"


def test_a_link_works_once_and_not_after_half_an_hour(monkeypatch):
    ada = Person()
    ada.register()
    token = letters()[-1].token
    MailedLink.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert ada.verify(token).json()["code"] == "link_invalid"
    assert ada.post("/resend-verification", {"email": ada.email}).status_code == 202
    again = letters()[-1].token
    assert ada.verify(token).status_code == 400
    assert ada.verify(again).status_code == 200
    assert ada.verify(again).json()["code"] == "link_invalid"


def test_whoever_registers_the_holder_of_the_mailbox_chooses_password_and_name():
    mallory = stranger(password="a password of an attacker")
    mallory.register()
    # There is no way to leave a password or a name behind that the owner would confirm unseen.
    for smuggled in ({"password": mallory.password}, {"name": "Mallory"}):
        answer = mallory.post("/register", {"email": mallory.email, **smuggled})
        assert (answer.status_code, answer.json()["param"]) == (400, next(iter(smuggled)))
    [mail] = letters(mallory.email)
    ada = Person()
    # Without a password of the owner's the link does nothing, and is not used up.
    for password in ("", "short", "passwordpassword"):
        refused = ada.post("/verify", {"token": mail.token, "password": password})
        assert (refused.status_code, refused.json()["code"]) == (400, "password_rejected")
    assert ada.post("/verify", {"token": mail.token, "password": ada.password, "name": "Ada"}).status_code == 200
    assert mallory.sign_in().status_code == 401
    assert ada.sign_in().json()["account"]["name"] == "Ada"
    record("A8", violations=0, door="a registration that a stranger began", attacker_access=0)


def test_who_registers_an_address_with_an_account_changes_nothing_and_the_owner_is_told():
    ada = Person().join()
    mallory = stranger(password="a password of somebody else")
    mallory.register()
    assert [mail.template for mail in letters(ada.email)] == ["account-exists"]
    assert mallory.sign_in().status_code == 401
    assert ada.sign_in().status_code == 200
    assert MailedLink.objects.filter(used_at__isnull=True).count() == 0


@pytest.mark.parametrize("door", ["invitation", "registration"])
def test_a_claim_on_an_address_dies_when_its_owner_comes_by_another_door(door):
    mallory = stranger(password="a password of an attacker")
    mallory.register()
    mallory_link = letters(mallory.email)[-1].token
    ada = Person()
    if door == "registration":
        ada.join()
    else:
        request = _request()
        services.join_invited(request, ada.email, ada.password)
    # Nothing of the claim is left: neither its link nor its password opens anything.
    assert mallory.verify(mallory_link).status_code == 400
    assert mallory.post("/resend-verification", {"email": ada.email}).status_code == 202
    assert "verify" not in [mail.template for mail in letters(ada.email) if mallory_link not in mail.text]
    assert mallory.sign_in().status_code == 401
    assert ada.sign_in().status_code == 200
    record("A8", violations=0, door=door, attacker_access=0)


def test_the_new_address_is_proved_both_mailboxes_are_told_and_old_links_end():
    ada = Person().join()
    ada.sign_in()
    elsewhere = Person()
    elsewhere.sign_in()
    ada.post("/forgot-password", {"email": ada.email})
    reset = letters(ada.email)[-1].token
    assert ada.post("/email", {"email": "new@example.com"}).status_code == 202
    token = letters("new@example.com")[-1].token
    Mail.objects.all().delete()
    assert ada.verify(token).status_code == 200
    assert {(mail.template, mail.to) for mail in letters()} == {
        ("email-changed", "ada@example.com"),
        ("email-changed", "new@example.com"),
    }
    assert ada.is_in and not elsewhere.is_in
    assert stranger().post("/reset-password", {"token": reset, "password": PASSWORD + "!"}).status_code == 400
    assert Person(email="new@example.com").sign_in().status_code == 200


def test_moving_to_a_taken_address_is_answered_as_ever_and_tells_its_owner():
    ada = Person().join()
    Person(email="bob@example.com").join()
    ada.sign_in()
    assert ada.post("/email", {"email": "bob@example.com"}).json() == {"status": "mail_sent"}
    assert [mail.template for mail in letters("bob@example.com")] == ["account-exists"]


def test_profile_and_theme_are_kept():
    ada = Person().join()
    ada.sign_in()
    assert ada.ask("PATCH", "/me", {"name": "Ada", "theme": "dark"}).json()["theme"] == "dark"
    assert ada.ask("PATCH", "/me", {"theme": "pink"}).status_code == 400
    assert ada.ask("PATCH", "/me", {"is_staff": True}).status_code == 400
    assert ada.get("/me").json()["name"] == "Ada"


def test_an_account_is_exported_and_deleted_with_its_own_team_but_not_from_under_others():
    ada, bob = Person().join(), Person(email="bob@example.com").join()
    ada.sign_in()
    export = ada.get("/export").json()
    assert export["profile"]["email"] == ada.email
    assert export["teams"][0]["is_owner"] is True
    assert "argon2" not in str(export)
    team = memberships_of(ada.user)[0].team
    team.memberships.create(user=bob.user, role="member")
    assert ada.ask("DELETE", "/me").json()["code"] == "teams_need_owner"
    assert ada.is_in
    team.memberships.filter(user=bob.user).update(is_owner=True, role="admin")
    Mail.objects.all().delete()
    answer = ada.ask("DELETE", "/me")
    assert answer.status_code == 204
    assert answer.headers["Clear-Site-Data"]
    assert not User.objects.filter(email=ada.email).exists()
    assert "account-deleted" in [mail.template for mail in letters(ada.email)]
    assert not ada.is_in


def test_actions_answer_as_their_routes_do():
    ada = Person()
    assert ada.post("?action=register", {"email": ada.email}).json() == {"status": "mail_sent"}
    given = {"token": letters()[-1].token, "password": ada.password}
    assert ada.post("?action=verify", given).json() == {"status": "verified"}
    assert ada.post("?action=forgot-password", {"email": ada.email}).status_code == 202
    assert ada.post("?action=login", {"email": ada.email, "password": "wrong"}).json()["code"] == "invalid_credentials"
    assert ada.post("?action=login", {"email": ada.email, "password": ada.password}).json()["session_token"]
    assert ada.post("?action=get-api-key").json()["masked"] is None
    made = ada.post("?action=reset-api-key").json()
    assert made["api_key"].startswith("ac_live_")
    shown = ada.post("?action=get-api-key").json()
    assert shown["masked"] == made["masked"] and made["api_key"] not in str(shown)
    again = ada.post("?action=reset-api-key").json()
    assert again["api_key_id"] == made["api_key_id"] and again["replaced"] and again["api_key"] != made["api_key"]
    assert ada.post("?action=fly").json()["param"] == "action"
    assert ada.post("?action=logout").status_code == 204
    assert ada.post("?action=get-api-key").status_code == 401


def _request():
    from django.test import RequestFactory

    return RequestFactory().post("/", REMOTE_ADDR="198.51.100.9")
