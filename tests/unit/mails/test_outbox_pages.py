"""`/dev/mail` shows what would have been sent, to this machine only, and a mail's HTML can do nothing there."""

from dataclasses import replace

import pytest
from django.test import Client

from agentcache.mails.delivery import Outbox, message_of, outbox_dir
from agentcache.mails.models import Mail
from agentcache.mails.services import Body
from agentcache.settings import Settings
from tests.support.django_project import use_settings

HOSTILE = '<p>Hi</p><script>window.__xss = 1</script><img src="https://evil.example/x.png">'


def keep(settings, subject="Confirm <b>your</b> address"):
    mail = Mail(template="verify", to="ada@example.com", subject=subject)
    body = Body("Go to http://127.0.0.1:8787/verify?token=abc\n", HOSTILE)
    Outbox(outbox_dir(settings)).deliver(message_of(mail, body, settings))
    return mail.pk


def get(path, **meta):
    return Client(HTTP_HOST="127.0.0.1:8787").get(path, **({"REMOTE_ADDR": "127.0.0.1"} | meta))


def test_a_mail_is_listed_and_shown_as_text(sqlite_project):
    mail_id = keep(sqlite_project)
    listed = get("/dev/mail").content.decode()
    assert "Confirm &lt;b&gt;your&lt;/b&gt; address" in listed and "ada@example.com" in listed
    shown = get(f"/dev/mail/{mail_id}")
    assert 'href="http://127.0.0.1:8787/verify?token=abc"' in shown.content.decode()
    assert "__xss" not in shown.content.decode()
    assert get("/dev/mail/nothing").status_code == 404
    assert get("/dev/mail/..%2f..%2fsecret").status_code == 404


def test_its_html_is_shut_in(sqlite_project):
    shown = get(f"/dev/mail/{keep(sqlite_project)}/html")
    policy = shown["Content-Security-Policy"]
    assert "sandbox" in policy and "script-src" not in policy and "default-src 'none'" in policy
    assert "allow-" not in policy


def test_an_empty_outbox_says_what_will_be_there(sqlite_project):
    assert "No mails yet" in get("/dev/mail").content.decode()


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_url": "smtp://mail.example.com"},
        {"host": "0.0.0.0"},
        {"public_url": "https://cache.example.com"},
        {"trusted_proxies": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_is_there_on_a_laptop_only(sqlite_project, change):
    mail_id = keep(sqlite_project)
    settings: Settings = replace(sqlite_project, **change)
    with use_settings(settings):
        for path in ("/dev/mail", f"/dev/mail/{mail_id}", f"/dev/mail/{mail_id}/html"):
            assert get(path).status_code == 404


def test_another_machine_is_told_nothing(sqlite_project):
    assert get("/dev/mail", REMOTE_ADDR="192.0.2.7").status_code == 404
