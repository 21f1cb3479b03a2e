"""Status, security, changelog: what they say is what is."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.jobs import services as jobs
from agentcache.jobs.models import Job
from agentcache.mails.models import Mail, MailState
from agentcache.site import server_status
from agentcache.site.server_status import State, gateway_parts, look, record_parts
from agentcache.web.asgi import get_control_plane_app
from tests.architecture.repository import ROOT
from tests.support.asgi_call import call
from tests.support.django_project import use_settings
from tests.support.sessions import stranger

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def told(settings):
    return {part.title: part for part in record_parts(settings, NOW)}


def worked(ago):
    """A worker did a periodic job some time ago."""
    jobs.keep_periodic({"cache.sweep": 60.0}, NOW - ago - timedelta(hours=1))
    Job.objects.update(created_at=NOW - ago - timedelta(hours=1), due_at=NOW - ago + timedelta(seconds=60))


@pytest.mark.parametrize(("report", "states"), [
    ((200, {"status": "ready", "checks": {"directory": "ok", "store": "ok"}}), (State.WORKS, State.WORKS)),
    ((200, {"status": "degraded", "checks": {"directory": "ok", "store": "slow"}}), (State.WORKS, State.IMPAIRED)),
    ((503, {"status": "unavailable", "checks": {"directory": "slow", "store": "ok"}}), (State.DOWN, State.WORKS)),
    ((503, {"status": "stopping", "checks": {}}), (State.IMPAIRED, State.UNKNOWN)),
    (None, (State.UNKNOWN, State.UNKNOWN)),
], ids=["ready", "degraded", "unavailable", "stopping", "none"])  # fmt: skip
def test_gateway_and_store_are_as_readyz_sees_them(report, states):
    assert tuple(part.state for part in gateway_parts(report)) == states


def test_a_worker_that_never_came_is_down(project):
    assert told(project)["Job worker"].state is State.DOWN
    jobs.keep_periodic({"cache.sweep": 60.0}, NOW)
    Job.objects.update(created_at=NOW)
    assert told(project)["Job worker"].state is State.DOWN


@pytest.mark.parametrize(("ago", "state"), [
    (timedelta(seconds=10), State.WORKS),
    (timedelta(seconds=150), State.WORKS),
    (timedelta(minutes=30), State.DOWN),
], ids=["now", "just-due", "gone"])  # fmt: skip
def test_a_worker_is_known_by_what_it_did(project, ago, state):
    worked(ago)
    found = told(project)["Job worker"]
    assert found.state is state, found.said


def test_a_worker_with_too_much_to_do_is_impaired(project):
    worked(timedelta(seconds=5))
    jobs.enqueue("late", "x", {}, NOW - timedelta(minutes=10))
    found = told(project)["Job worker"]
    assert (found.state, "10 min late" in found.said) == (State.IMPAIRED, True)


def test_mails_that_wait_or_fail_are_told(project):
    with_server = replace(project, smtp_url="smtp://mail.example.com")
    assert told(with_server)["Mails"].state is State.WORKS
    mail = Mail.objects.create(template="t", to="ada@example.com", subject="secret subject")
    Mail.objects.update(created_at=NOW - timedelta(minutes=4))
    assert told(with_server)["Mails"].state is State.WORKS
    Mail.objects.update(created_at=NOW - timedelta(minutes=40))
    assert told(with_server)["Mails"].said == "A mail has been waiting for 40 min."
    Mail.objects.filter(pk=mail.pk).update(state=MailState.FAILED)
    assert told(with_server)["Mails"].state is State.IMPAIRED


def test_without_the_database_nothing_is_claimed(sqlite_project, monkeypatch):
    monkeypatch.setattr(server_status, "records_answer", lambda: False)
    found = told(sqlite_project)
    assert [part.state for part in found.values()] == [State.DOWN, State.UNKNOWN, State.UNKNOWN]


async def test_the_page_asks_the_gateway_beside_it(project):
    asked = []

    async def ready():
        asked.append(1)
        return 200, {"status": "degraded", "checks": {"directory": "ok", "store": "circuit_open"}}

    app = get_control_plane_app(project, ready)
    page = await call(app, "/status")
    assert page.status == 200
    assert "Calls go to the provider meanwhile (circuit_open)" in page.text
    assert re.search(r"As of <time datetime=\"\d{4}-\d\d-\d\dT", page.text)
    await call(app, "/status")
    assert asked == [1], "a flood of visitors asks once"


def test_all_in_all_it_is_as_bad_as_its_worst_part(project):
    status = look(None, project, NOW)
    assert status.at == NOW
    assert status.worst is State.DOWN  # no worker


def test_security_txt_is_there_once_somebody_is_named(sqlite_project):
    assert stranger().get("/.well-known/security.txt").status_code == 404
    assert "security.txt" not in stranger().get("/security").content.decode()
    named = replace(
        sqlite_project, security_contact="mailto:security@example.com", public_url="https://cache.example.com"
    )
    with use_settings(named):
        answer = stranger().get("/.well-known/security.txt", headers={"host": "cache.example.com"})
        page = stranger().get("/security", headers={"host": "cache.example.com"}).content.decode()
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    said = dict(line.split(": ", 1) for line in answer.content.decode().splitlines())
    assert said["Contact"] == "mailto:security@example.com"
    assert said["Canonical"] == "https://cache.example.com/.well-known/security.txt"
    assert said["Policy"] == "https://cache.example.com/security"
    left = datetime.fromisoformat(said["Expires"]) - datetime.now(UTC)
    assert timedelta(days=170) < left < timedelta(days=365)  # RFC 9116: less than a year
    assert 'href="mailto:security@example.com"' in page
    assert 'href="/.well-known/security.txt"' in page


def test_the_changelog_is_the_file_in_the_repository(sqlite_project):
    page = stranger().get("/changelog").content.decode()
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions
    assert re.findall(r"<h2 id=[^>]*>(.+?) <a", page) == versions


def test_the_page_about_security_has_every_part_of_the_file(sqlite_project):
    page = stranger().get("/security").content.decode()
    parts = re.findall(r"^##+ (.+)$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert re.findall(r"<h[23] id=[^>]*>(.+?) <a", page) == parts
