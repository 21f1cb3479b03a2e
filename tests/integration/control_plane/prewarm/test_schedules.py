"""Schedules: what is due is started once, paused or broken ones harm nobody; by API and on pages."""

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from agentcache.audit.models import AuditEvent
from agentcache.prewarm import services
from agentcache.prewarm.models import Batch, ProviderCredential, Schedule
from agentcache.teams.secrets import current_secrets
from tests.support.prewarming import do, keep_credential
from tests.support.prewarming_requests import chat, lines
from tests.support.sessions import browser_of, program_of, stranger
from tests.support.teams import join, make_team

API = "/api/cache/prewarm/schedules"
PAGES = "/dashboard/prewarm/schedules"
GIVEN = {
    "title": "Opening hours",
    "requests": [chat("one"), chat("two")],
    "cron": "nightly",
    "timezone": "Europe/Berlin",
    "cost_cap_usd": "1.00",
}


@pytest.fixture
def kept(settings, team):
    keep_credential(settings, team)


@pytest.fixture
def admin(people):
    return program_of(people["admin"].user)


@pytest.fixture
def schedule(kept, admin):
    made = ask(admin, "POST", API, GIVEN)
    assert made.status_code == 201, made.content
    return Schedule.objects.get()


def ask(program, method, path, body=None):
    return program.generic(method, path, "" if body is None else json.dumps(body), "application/json")


def start_due(days=0.0):
    return services.start_due(current_secrets(), timezone.now() + timedelta(days=days))


def test_what_is_due_is_started_once_and_asks_what_was_kept(settings, schedule, provider):
    assert b"one" not in bytes(schedule.sealed)
    assert start_due() == 0
    # Days late it is started once, and is due next in the future.
    assert (start_due(3), start_due(3)) == (1, 0)
    schedule.refresh_from_db()
    assert schedule.next_at > timezone.now() + timedelta(days=3)
    batch = do(settings, Batch.objects.get())
    assert (batch.pk, batch.warmed, batch.cost_cap_usd_nanos) == (schedule.last_batch_id, 2, 10**9)
    assert start_due(4.5) == 1
    again = do(settings, Batch.objects.exclude(pk=batch.pk).get())
    assert (again.warmed, again.skipped) == (0, 2)
    assert len([call for call in provider.calls if call.method == "POST"]) == 2


def test_a_paused_schedule_starts_nothing_until_it_goes_on(schedule, admin):
    paused = ask(admin, "PATCH", f"{API}/{schedule.pk}", {"is_paused": True}).json()
    assert (paused["is_paused"], paused["next_at"]) == (True, None)
    assert start_due(3) == 0
    assert ask(admin, "PATCH", f"{API}/{schedule.pk}", {"is_paused": False}).json()["next_at"] is not None
    assert start_due(3) == 1


def test_one_that_cannot_be_started_says_why_and_holds_up_no_other(settings, schedule, admin):
    ask(admin, "POST", API, {**GIVEN, "title": "Other"})
    ProviderCredential.objects.all().delete()
    assert start_due(3) == 0
    keep_credential(settings, schedule.team)
    broken = ask(admin, "GET", f"{API}/{schedule.pk}").json()
    assert broken["last_prewarm_id"] == ""
    assert "keeps no credential for openai" in broken["last_error"]
    assert not Batch.objects.exists()
    assert start_due(5) == 2


def test_a_schedule_from_its_making_to_its_end(schedule, admin):
    shown = ask(admin, "GET", API).json()["schedules"][0]
    assert (shown["cron"], shown["timezone"], shown["requests"], shown["last_prewarm_id"]) == (
        "0 3 * * *", "Europe/Berlin", 2, "",
    )  # fmt: skip
    changed = ask(admin, "PATCH", f"{API}/{schedule.pk}", {"cron": "weekly", "title": "Weekly"}).json()
    assert (changed["cron"], changed["title"]) == ("0 3 * * 1", "Weekly")
    run = ask(admin, "POST", f"{API}/{schedule.pk}/run")
    assert (run.status_code, run.json()["title"]) == (202, "Weekly")
    assert ask(admin, "DELETE", f"{API}/{schedule.pk}").status_code == 204
    assert ask(admin, "GET", f"{API}/{schedule.pk}").json()["code"] == "prewarm_schedule_not_found"
    assert Batch.objects.count() == 1
    noted = AuditEvent.objects.filter(action__startswith="prewarm_schedule.").values_list("action", flat=True)
    assert [action.partition(".")[2] for action in noted.order_by("id")] == ["created", "changed", "deleted"]


@pytest.mark.parametrize(
    ("changed", "code", "param"),
    [
        ({"cron": "always"}, "invalid_schedule", "cron"),
        ({"timezone": "Mars/Olympus"}, "invalid_schedule", "timezone"),
        ({"title": ""}, "invalid_schedule", "title"),
        ({"dry_run": True}, "invalid_batch", "dry_run"),
        ({"requests": []}, "invalid_batch", "requests"),
        ({"sneed": 1}, "invalid_batch", None),
    ],
)
def test_what_is_malformed_is_refused_and_named(kept, admin, changed, code, param):
    answer = ask(admin, "POST", API, {**GIVEN, **changed})
    assert (answer.status_code, answer.json()["code"], answer.json().get("param")) == (400, code, param)
    assert not Schedule.objects.exists()


def test_who_may_see_and_change_schedules(schedule, people):
    here = f"{API}/{schedule.pk}"
    for role in ("member", "viewer"):
        program = program_of(people[role].user)
        assert ask(program, "GET", API).status_code == ask(program, "GET", here).status_code == 200
        for method, path, body in (
            ("POST", API, GIVEN),
            ("PATCH", here, {}),
            ("POST", f"{here}/run", None),
            ("DELETE", here, None),
        ):
            assert ask(program, method, path, body).status_code == 403
    fox = program_of(join(make_team("Red Foxes"), "fox@example.com", "owner").user)
    assert ask(fox, "GET", API).json() == {"schedules": []}
    for method, path, body in (
        ("GET", here, None),
        ("PATCH", here, {}),
        ("POST", f"{here}/run", None),
        ("DELETE", here, None),
    ):
        assert ask(fox, method, path, body).status_code == 404
        assert ask(stranger(), method, path, body).status_code == 401


def test_the_pages(settings, kept, people):
    admin, viewer = browser_of(people["admin"].user), browser_of(people["viewer"].user)
    assert "No schedules yet" in admin.get(PAGES).content.decode()
    form = {"title": "Hours", "lines": lines(chat("one")).decode(), "concurrency": "2", "cron": "x", "timezone": "UTC"}
    wrong = admin.post(f"{PAGES}/new", form)
    assert wrong.status_code == 422
    assert "five fields of cron" in wrong.content.decode()
    admin.post(f"{PAGES}/new", {**form, "cron": "0 5 * * *"})
    row = Schedule.objects.get()
    text = re.sub(r"\s+", " ", viewer.get(PAGES).content.decode())
    assert "0 5 * * *" in text
    assert "Pause" not in text
    admin.post(f"{PAGES}/{row.pk}/pause", {"paused": "1"})
    assert "Resume" in admin.get(PAGES).content.decode()
    started = admin.post(f"{PAGES}/{row.pk}/run")
    assert started["Location"] == f"/dashboard/prewarm/{Batch.objects.get().pk}"
    assert viewer.post(f"{PAGES}/{row.pk}/run").status_code == 403
    assert "Delete this schedule?" in admin.get(f"{PAGES}/{row.pk}/delete").content.decode()
    admin.post(f"{PAGES}/{row.pk}/delete")
    assert not Schedule.objects.exists()
