"""Queued with their cause, once by key, unreadable at rest, and no header from a name."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from agentcache.jobs.models import Job
from agentcache.mails import services
from agentcache.mails.models import Mail, MailState

LINK = "https://cache.example.com/verify/canary-secret-of-the-link?a=1&b=2"


@pytest.fixture(autouse=True)
def _templates(greeting):
    pass


def send(to="ada@example.com", name="Ada & Co", key=None):
    services.send("greeting", to, {"name": name, "link": LINK}, key=key)


def test_a_mail_is_a_row_and_a_job():
    send()
    mail = Mail.objects.get()
    assert (mail.to, mail.subject, mail.state) == ("ada@example.com", "Hello Ada & Co from us", MailState.QUEUED)
    assert Job.objects.get(name=services.SEND_MAIL).payload == {"mail_id": mail.pk}
    body = services.body_of(mail)
    assert LINK in body.text and "Ada & Co" in body.text
    assert "Ada &amp; Co" in body.html


def test_it_comes_and_goes_with_its_cause():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send()
        raise ZeroDivisionError
    assert not Mail.objects.exists()
    assert not Job.objects.filter(name=services.SEND_MAIL).exists()


def test_a_key_makes_it_once_even_inside_a_transaction():
    with transaction.atomic():
        send(key="quota:2026-11:80")
        send(key="quota:2026-11:80", name="Twice")
        send(key="quota:2026-11:90")
    assert Mail.objects.count() == 2
    assert Job.objects.filter(name=services.SEND_MAIL).count() == 2


def test_links_are_not_readable_in_the_database_and_gone_afterwards():
    send()
    mail = Mail.objects.get()
    with connection.cursor() as cursor:
        for table in ("mails_mail", "jobs_job"):
            cursor.execute(f"SELECT * FROM {table}")
            assert "canary" not in str([bytes(v) if isinstance(v, memoryview) else v for r in cursor for v in r])
    services.note_sent(mail.pk)
    mail.refresh_from_db()
    assert (mail.state, mail.sealed_body, mail.attempts) == (MailState.SENT, None, 1)
    assert mail.sent_at is not None


@pytest.mark.parametrize(
    "to", ["", "ada", "ada@example.com\nbcc: eve@example.com", "a@b.c, d@e.f"], ids=["none", "word", "break", "two"]
)
def test_what_is_no_single_address_is_refused(to):
    with pytest.raises(ValidationError):
        send(to=to)
    assert not Mail.objects.exists()


def test_a_name_cannot_add_a_header_or_grow_the_subject_without_end():
    send(name="Eve\r\nBcc: eve@example.com " + "x" * 500)
    subject = Mail.objects.get().subject
    assert "\n" not in subject and "\r" not in subject
    assert len(subject) == 200


def test_a_final_failure_keeps_the_text_for_a_day():
    send()
    mail = Mail.objects.get()
    services.note_failure(mail.pk, "450 later", is_final=False)
    mail.refresh_from_db()
    assert (mail.state, mail.last_error) == (MailState.QUEUED, "450 later")
    assert services.body_of(mail) is not None
    services.note_failure(mail.pk, "550 no such user", is_final=True)
    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == (MailState.FAILED, 2)
    assert services.body_of(mail) is not None
    assert services.forget_texts(timezone.now() - timedelta(hours=24)) == 0
    assert services.forget_texts(timezone.now() + timedelta(seconds=1)) == 1
    assert Mail.objects.get().sealed_body is None


def test_a_failed_mail_is_sent_again_and_one_without_text_is_not():
    send()
    mail = Mail.objects.get()
    services.note_failure(mail.pk, "550 no such user", is_final=True)
    Job.objects.update(failed_at=timezone.now(), attempts=6)
    assert services.resend(mail.pk)
    mail.refresh_from_db()
    assert (mail.state, mail.attempts, mail.last_error) == (MailState.QUEUED, 0, "")
    job = Job.objects.get(name=services.SEND_MAIL)
    assert (job.failed_at, job.attempts) == (None, 0)
    Job.objects.all().delete()
    assert services.resend(mail.pk)
    assert Job.objects.get(name=services.SEND_MAIL).payload == {"mail_id": mail.pk}
    services.note_sent(mail.pk)
    assert not services.resend(mail.pk)
    assert not services.resend("unknown")


def test_a_waiting_mail_is_stopped_for_good_unless_it_is_being_sent():
    send()
    mail = Mail.objects.get()
    Job.objects.update(claim="a worker's")
    assert not services.stop(mail.pk)
    Job.objects.update(claim="")
    assert services.stop(mail.pk)
    mail.refresh_from_db()
    assert (mail.state, mail.sealed_body) == (MailState.STOPPED, None)
    assert not Job.objects.exists()
    assert not services.stop(mail.pk)
    assert not services.resend(mail.pk)
