"""Every write to mails: queue one, note what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings as django_conf
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F
from django.template import Context
from django.template.loader import get_template
from django.utils import timezone

from agentcache.jobs import services as jobs
from agentcache.kit.crypto import DecryptionFailed, associated_data, derive, open_sealed, seal
from agentcache.kit.ids import new_id
from agentcache.mails.models import Mail, MailState
from agentcache.settings import Settings

#: Job: send the mail `payload["mail_id"]`.
SEND_MAIL = "mail.send"
_SUBJECT_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Body:
    """The two forms of a mail's text."""

    text: str
    html: str


def send(template: str, to: str, context: Mapping[str, object], *, key: str | None = None) -> None:
    """Queue a mail, within the caller's transaction; with a `key` that was used before, nothing happens.

    Templates are `mails/<template>.subject.txt`, `.txt` and `.html` of any app. Raises `ValidationError` for what is no
    address and `TemplateDoesNotExist`.
    """
    validate_email(to)
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    members = {"origin": settings.origin, "to": to, **context}
    # One line, whatever a template or a team's name holds.
    subject = " ".join(_rendered(f"mails/{template}.subject.txt", members).split())[:_SUBJECT_CHARS_MAX]
    members["subject"] = subject
    text = _rendered(f"mails/{template}.txt", members).strip() + "\n"
    html = get_template(f"mails/{template}.html").render(members)
    mail = Mail(id=new_id(), key=key, template=template, to=to, subject=subject)
    mail.sealed_body = _sealed(mail.id, Body(text, html))
    try:
        with transaction.atomic():
            mail.save(force_insert=True)
            jobs.enqueue(_job_of(mail.id), SEND_MAIL, {"mail_id": mail.id}, timezone.now())
    except IntegrityError:
        if key is None or not Mail.objects.filter(key=key).exists():
            raise


def body_of(mail: Mail) -> Body | None:
    """Return a mail's texts, or None when they are gone. Raises `DecryptionFailed`."""
    if mail.sealed_body is None:
        return None
    sealed = bytes(mail.sealed_body)
    failure: DecryptionFailed | None = None
    for key in (str(django_conf.SECRET_KEY), *map(str, django_conf.SECRET_KEY_FALLBACKS)):
        try:
            return Body(**json.loads(open_sealed(_key(key), sealed, _place(mail.id))))
        except DecryptionFailed as error:
            failure = error
    assert failure is not None
    raise failure


def note_sent(mail_id: str) -> None:
    """Note that a mail is on its way, and forget its text."""
    Mail.objects.filter(pk=mail_id).update(
        state=MailState.SENT, sent_at=timezone.now(), sealed_body=None, last_error="", attempts=F("attempts") + 1
    )


def note_failure(mail_id: str, reason: str, *, is_final: bool) -> None:
    """Note that a mail could not be sent, and whether that is final."""
    found = Mail.objects.filter(pk=mail_id)
    found.update(last_error=reason[:200], attempts=F("attempts") + 1)
    if is_final:
        found.update(state=MailState.FAILED)


def resend(mail_id: str) -> bool:
    """Have a mail that waits or failed sent at once, with all its tries anew; False when it is gone out or its text gone."""
    with transaction.atomic():
        found = Mail.objects.filter(pk=mail_id, state__in=(MailState.QUEUED, MailState.FAILED))
        if not found.exclude(sealed_body=None).update(state=MailState.QUEUED, attempts=0, last_error=""):
            return False
        if not jobs.retry(_job_of(mail_id)) and not jobs.exists(_job_of(mail_id)):
            jobs.enqueue(_job_of(mail_id), SEND_MAIL, {"mail_id": mail_id}, timezone.now())
    return True


def stop(mail_id: str) -> bool:
    """Keep a mail that waits from going out, for good; False when it is gone out, given up, or being sent now."""
    with transaction.atomic():
        if not jobs.cancel(_job_of(mail_id)) and jobs.exists(_job_of(mail_id)):
            return False
        waiting = Mail.objects.filter(pk=mail_id, state=MailState.QUEUED)
        return waiting.update(state=MailState.STOPPED, sealed_body=None) == 1


def forget_texts(before: datetime) -> int:
    """Forget the texts of mails that failed and are older than a time; return how many."""
    failed = Mail.objects.filter(state=MailState.FAILED, created_at__lt=before).exclude(sealed_body=None)
    return failed.update(sealed_body=None)


def prune(before: datetime) -> int:
    """Delete what is older than a time, but for what is still to be sent; return how many mails that were."""
    return Mail.objects.filter(created_at__lt=before).exclude(state=MailState.QUEUED).delete()[0]


def _job_of(mail_id: str) -> str:
    return f"mail:{mail_id}"


def _rendered(name: str, members: Mapping[str, object]) -> str:
    # Plain text: `&amp;` in a link or a name would be wrong.
    template = get_template(name).template  # type: ignore[attr-defined]  # the engine's own template
    return str(template.render(Context(dict(members), autoescape=False)))


def _sealed(mail_id: str, body: Body) -> bytes:
    text = json.dumps({"text": body.text, "html": body.html})
    return seal(_key(str(django_conf.SECRET_KEY)), text.encode(), _place(mail_id))


def _key(secret: str) -> bytes:
    return derive(secret.encode(), "mails")


def _place(mail_id: str) -> bytes:
    return associated_data("mail", "body", mail_id)
