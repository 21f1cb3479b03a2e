"""The first operator comes by a link that works once; the console shows no secret; viewing as a user is on record."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connections
from django.test import Client
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.analytics.services import record_events
from agentcache.audit.models import AuditEvent
from agentcache.gateway.ports import Refusal
from agentcache.jobs import services as jobs
from agentcache.jobs.models import Job
from agentcache.mails import services as mails
from agentcache.mails.models import Mail
from agentcache.operators import services
from agentcache.operators.models import SetupLink
from agentcache.operators.queries import has_operator
from agentcache.teams import queries
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key
from tests.support.accounts import HOST, PASSWORD, Person
from tests.support.usage import usage_event

pytestmark = pytest.mark.usefixtures("project")


def browser():
    return Client(HTTP_HOST=HOST, HTTP_SEC_FETCH_SITE="same-origin", REMOTE_ADDR="127.0.0.1")


def set_up(token, email="root@example.com"):
    return browser().post(f"/setup/{token}", {"email": email, "name": "Root", "password": PASSWORD})


@pytest.fixture
def operator():
    assert set_up(services.create_setup_link()).status_code == 302
    person = Person(email="root@example.com", is_browser=True)
    person.client = browser()
    assert person.sign_in().status_code == 200
    return person


def test_a_link_makes_one_operator_and_is_not_readable_at_rest():
    token = services.create_setup_link()
    assert len(token) >= 43 and token.encode() not in bytes(SetupLink.objects.get().token_hash)
    assert not has_operator()
    answer = set_up(token)
    assert answer.status_code == 302 and answer["Location"].startswith("/login?next=/admin/")
    assert User.objects.get().is_staff and has_operator()
    assert set_up(token, "eve@example.com").status_code == 404
    assert User.objects.count() == 1
    assert AuditEvent.objects.filter(action="operator.added", target_name="root@example.com").count() == 1


def test_a_weak_password_uses_nothing_up():
    token = services.create_setup_link()
    answer = browser().post(f"/setup/{token}", {"email": "root@example.com", "password": "short"})
    assert answer.status_code == 422
    assert set_up(token).status_code == 302


def test_many_at_once_make_one():
    token = services.create_setup_link()

    def attempt(number):
        try:
            return set_up(token, f"root{number}@example.com").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(attempt, range(6)))
    assert answers.count(302) == 1
    assert User.objects.filter(is_staff=True).count() == 1 == User.objects.count()


@pytest.mark.parametrize("how", ["expired", "replaced", "unknown"])
def test_a_link_that_no_longer_works_makes_nobody(how):
    token = services.create_setup_link()
    if how == "expired":
        SetupLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "replaced":
        services.create_setup_link()
    else:
        token = "x" * 43
    assert set_up(token).status_code == 404
    assert not User.objects.exists()


def test_the_console_is_for_operators_who_signed_in_just_now(operator):
    assert browser().get("/admin/")["Location"].startswith("/login?next=")
    ada = Person(is_browser=True).join()
    ada.client = browser()
    ada.sign_in()
    assert ada.client.get("/admin/").status_code == 404
    assert operator.client.get("/admin/").status_code == 200
    operator.age(16 * 60)
    assert operator.client.get("/admin/")["Location"].startswith("/reauthenticate?next=")
    answer = operator.client.post("/admin/accounts/user/", {"action": "disable"})
    assert answer["Location"].startswith("/reauthenticate?next=")


def test_every_list_and_row_opens_without_secrets_or_inline_code(operator):
    Person().join()
    secrets = current_secrets()
    created = create_api_key(secrets, Team.objects.first(), "Canary")
    jobs.enqueue("job-1", "some.job", {"canary": "canary-payload"}, timezone.now())
    for model, shown in admin.site._registry.items():
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        pages = [operator.client.get(base)]
        row = model.objects.first()
        if row is not None:
            pages.append(operator.client.get(f"{base}{admin.utils.quote(row.pk)}/change/"))
        for page in pages:
            text = page.content.decode()
            assert page.status_code == 200, (model, page.status_code)
            assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S|<style|\sstyle=|\son\w+=\"", text), model
            for secret in (created.api_key, "argon2", "canary-payload", "wrapped_data_key", "key_hash", "session_data"):
                assert secret not in text, (model, secret)
        assert model.__module__.startswith("agentcache.")
        assert not shown.has_delete_permission(page.wsgi_request)
    assert {"User", "Team", "ApiKey", "Mail", "Job", "AuditEvent", "LoginSession", "TeamPlan"} <= {
        model.__name__ for model in admin.site._registry
    }
    assert operator.client.get("/admin/usage/").status_code == 200


def test_usage_is_in_dollars(operator):
    team = Team.objects.create(name="Payers", slug="payers")
    record_events([usage_event(team, cost_usd_nanos=250_000_000, saved_usd_nanos=1_500_000_000)])
    text = operator.client.get("/admin/usage/").content.decode()
    assert "$0.2500" in text
    assert "$1.50" in text


def act(operator, path, action, ids, *, confirmed=True):
    given = {"action": action, "_selected_action": ids} | ({"confirmed": "yes"} if confirmed else {})
    return operator.client.post(path, given)


def test_revoking_is_asked_for_once_more_and_on_record(operator):
    key = create_api_key(current_secrets(), Team.objects.first(), "Canary").row
    asked = act(operator, "/admin/teams/apikey/", "revoke", [key.pk], confirmed=False)
    assert "stop working for good" in asked.content.decode()
    assert ApiKey.objects.get().revoked_at is None
    assert act(operator, "/admin/teams/apikey/", "revoke", [key.pk]).status_code == 302
    assert ApiKey.objects.get().revoked_at is not None
    assert AuditEvent.objects.get(action="api_key.revoked").actor_email == "root@example.com"


def test_a_failed_job_is_tried_again_or_cancelled(operator):
    for name in ("a", "b"):
        jobs.enqueue(name, "some.job", {}, timezone.now())
    Job.objects.filter(pk="a").update(failed_at=timezone.now(), attempts=10)
    act(operator, "/admin/jobs/job/", "retry", ["a"])
    assert (Job.objects.get(pk="a").failed_at, Job.objects.get(pk="a").attempts) == (None, 0)
    act(operator, "/admin/jobs/job/", "cancel", ["b"])
    assert not Job.objects.filter(pk="b").exists()
    actions = set(AuditEvent.objects.filter(target_kind="job").values_list("action", flat=True))
    assert actions == {"job.retried", "job.cancelled"}


def test_a_plan_is_changed_and_on_record(operator):
    team = Team.objects.first()
    given = {"team": team.pk, "plan": "pro", "is_hard": "on", "serves_hits_over_quota": "on"}
    assert operator.client.post("/admin/quotas/teamplan/add/", given).status_code == 302
    assert AuditEvent.objects.get(action="plan.changed").after == {"plan": "pro"}


def test_an_operator_makes_another_and_ends_that_after_being_asked_once_more(operator, ada):
    asked = act(operator, "/admin/accounts/user/", "make_operator", [ada.user.pk], confirmed=False)
    assert "everything in this console" in asked.content.decode()
    assert not User.objects.get(pk=ada.user.pk).is_staff
    assert act(operator, "/admin/accounts/user/", "make_operator", [ada.user.pk]).status_code == 302
    assert User.objects.get(pk=ada.user.pk).is_staff
    added = AuditEvent.objects.get(action="operator.added", target_name="ada@example.com")
    assert (added.actor_email, added.after) == ("root@example.com", {"is_operator": True, "by": "console"})
    ada.client = browser()
    ada.sign_in()
    assert ada.client.get("/admin/").status_code == 200
    act(operator, "/admin/accounts/user/", "end_operator", [ada.user.pk])
    assert not User.objects.get(pk=ada.user.pk).is_staff
    assert ada.client.get("/admin/")["Location"].startswith("/login")
    assert AuditEvent.objects.get(action="operator.removed").actor_email == "root@example.com"


def test_the_last_operator_and_oneself_stay(operator, ada):
    root = User.objects.get(email="root@example.com")
    path = "/admin/accounts/user/"
    answer = operator.client.post(
        path, {"action": "end_operator", "_selected_action": [root.pk], "confirmed": "yes"}, follow=True
    )
    assert "The last operator stays" in answer.content.decode()
    act(operator, path, "make_operator", [ada.user.pk])
    act(operator, path, "end_operator", [root.pk])
    act(operator, path, "disable", [root.pk])
    root.refresh_from_db()
    assert root.is_staff and root.is_active
    assert not AuditEvent.objects.filter(action="operator.removed").exists()


def test_a_disabled_person_is_no_operator_and_cannot_become_one(operator, ada):
    act(operator, "/admin/accounts/user/", "disable", [ada.user.pk])
    act(operator, "/admin/accounts/user/", "make_operator", [ada.user.pk])
    assert not User.objects.get(pk=ada.user.pk).is_staff


def test_rights_are_given_by_nobody_whose_sign_in_is_old(operator, ada):
    operator.age(16 * 60)
    answer = act(operator, "/admin/accounts/user/", "make_operator", [ada.user.pk])
    assert answer["Location"].startswith("/reauthenticate?next=")
    assert not User.objects.get(pk=ada.user.pk).is_staff


def test_disabling_ends_sessions_and_own_keys_and_spares_shared_ones(operator, ada, project):
    team = Team.objects.filter(memberships__user=ada.user).get()
    secrets = current_secrets()
    own = create_api_key(secrets, team, "Own", created_by=ada.user, is_shared=False)
    shared = create_api_key(secrets, team, "Shared", created_by=ada.user, is_shared=True)

    def refusal(created):
        return queries.find_api_key(secrets.possible_hashes(created.api_key)).refusal(timezone.now())

    assert refusal(own) is None
    asked = act(operator, "/admin/accounts/user/", "disable", [ada.user.pk], confirmed=False).content.decode()
    assert "inactive_key" in asked
    act(operator, "/admin/accounts/user/", "disable", [ada.user.pk])
    assert ada.get("/me").status_code == 401
    assert (refusal(own), refusal(shared)) == (Refusal.INACTIVE, None)
    act(operator, "/admin/accounts/user/", "enable", [ada.user.pk])
    assert refusal(own) is None
    actions = set(AuditEvent.objects.filter(target_name="ada@example.com").values_list("action", flat=True))
    assert {"account.disabled", "account.enabled"} <= actions


def test_a_teams_page_leads_to_its_plan_and_the_change_is_on_record(operator):
    team = Team.objects.first()
    page = f"/admin/teams/team/{team.pk}/change/"
    assert f"/admin/quotas/teamplan/add/?team={team.pk}" in operator.client.get(page).content.decode()
    given = {"team": team.pk, "plan": "free", "is_hard": "on", "serves_hits_over_quota": "on"}
    operator.client.post("/admin/quotas/teamplan/add/", given)
    assert "Plan: Free" in operator.client.get(page).content.decode()
    change = f"/admin/quotas/teamplan/{team.pk}/change/"
    assert operator.client.post(change, {**given, "plan": "pro"}).status_code == 302
    last = AuditEvent.objects.filter(action="plan.changed").order_by("at").last()
    assert (last.before, last.after, last.actor_email) == ({"plan": "free"}, {"plan": "pro"}, "root@example.com")
    assert last.team_id == team.pk


def test_mails_are_sent_again_and_stopped_on_record(operator):
    mails.send("verify", "ada@example.com", {"link": "https://cache.example.com/x"})
    mails.send("verify", "bob@example.com", {"link": "https://cache.example.com/x"})
    to_ada, to_bob = (Mail.objects.get(to=to) for to in ("ada@example.com", "bob@example.com"))
    mails.note_failure(to_ada.pk, "550", is_final=True)
    act(operator, "/admin/mails/mail/", "resend", [to_ada.pk])
    assert Mail.objects.get(pk=to_ada.pk).state == "queued"
    act(operator, "/admin/mails/mail/", "stop", [to_bob.pk])
    assert Mail.objects.get(pk=to_bob.pk).state == "stopped"
    actions = set(AuditEvent.objects.filter(target_kind="mail").values_list("action", flat=True))
    assert actions == {"mail.resent", "mail.stopped"}


def root_id():
    return User.objects.get(email="root@example.com").pk


def view_as(operator, person, reason="Ticket 4711: chart is empty"):
    return operator.client.post(f"/admin/view-as/{person.user.pk}/", {"reason": reason})


@pytest.fixture
def ada(operator):
    return Person(email="ada@example.com").join()


def test_viewing_as_a_user_needs_a_reason_and_is_on_record(operator, ada):
    assert view_as(operator, ada, "no").status_code == 200
    assert operator.get("/me").json()["email"] == "root@example.com"
    assert view_as(operator, ada).status_code == 302
    assert operator.get("/me").json()["email"] == "ada@example.com"
    started = AuditEvent.objects.get(action="impersonation.started")
    assert (started.actor_email, started.target_name) == ("root@example.com", "ada@example.com")
    assert started.after == {"reason": "Ticket 4711: chart is empty"}
    page = operator.client.post("/settings/danger").content.decode()
    assert "on record as done by root@example.com" in page
    for path in ("/dashboard", "/settings/profile", "/dashboard/team"):
        shown = operator.client.get(path, follow=True)
        assert "on record as done by root@example.com" in shown.content.decode(), path
    done = operator.client.post("/dashboard/team/new", {"name": "Made in her place"})
    assert done.status_code == 302, done.content
    made = AuditEvent.objects.get(action="team.created", target_name="Made in her place")
    assert (made.actor_email, made.impersonator_id) == ("ada@example.com", root_id())
    assert operator.client.post("/view-as/end").status_code == 302
    assert operator.get("/me").json()["email"] == "root@example.com"
    ended = AuditEvent.objects.get(action="impersonation.ended")
    assert (ended.actor_email, ended.target_name) == ("root@example.com", "ada@example.com")
    # The proof of who one is does not outlive the visit.
    assert operator.client.get("/admin/")["Location"].startswith("/reauthenticate")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/settings/security/password"),
        ("POST", "/settings/security/app"),
        ("POST", "/settings/profile/email"),
        ("GET", "/settings/export"),
        ("POST", "/settings/danger"),
        ("POST", "/reauthenticate"),
        ("POST", "/api/account/totp"),
        ("POST", "/api/account?action=reset-api-key"),
        ("GET", "/admin/"),
    ],
)
def test_what_is_the_users_alone_is_refused(operator, ada, method, path):
    view_as(operator, ada)
    before = User.objects.get(email="ada@example.com").password
    answer = operator.client.generic(method, path, b"{}", "application/json")
    assert answer.status_code == 403, answer.content
    assert User.objects.get(email="ada@example.com").password == before


def test_it_ends_after_half_an_hour_and_with_the_operators_rights(operator, ada, monkeypatch):
    view_as(operator, ada)
    now = time.time()
    monkeypatch.setattr("agentcache.operators.viewing.time.time", lambda: now + 30 * 60 + 1)
    assert operator.client.get("/settings/profile")["Location"] == "/admin/"
    monkeypatch.undo()
    assert AuditEvent.objects.get(action="impersonation.ended").after == {"because": "time"}
    assert operator.get("/me").json()["email"] == "root@example.com"


def test_operators_and_disabled_people_are_not_viewed_as(operator, ada):
    User.objects.filter(pk=ada.user.pk).update(is_staff=True)
    assert view_as(operator, ada).status_code == 404
    User.objects.filter(pk=ada.user.pk).update(is_staff=False, is_active=False)
    assert view_as(operator, ada).status_code == 404
    assert not AuditEvent.objects.filter(action="impersonation.started").exists()
