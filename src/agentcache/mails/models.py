"""Mails: what is to be sent, and what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id


class MailState(models.TextChoices):
    """How far a mail has come."""

    QUEUED = "queued", "Queued"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"
    #: An operator did not want it to go out.
    STOPPED = "stopped", "Stopped"


class Mail(models.Model):
    """One mail to one person."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    #: Whoever names a mail sends it once, however often the cause is repeated.
    key = models.CharField(max_length=128, null=True, unique=True)
    template = models.CharField(max_length=64)
    to = models.CharField(max_length=254)
    subject = models.CharField(max_length=200)
    #: Texts, encrypted: they hold links that let people in. Gone once the mail is sent or stopped, and a day after it
    #: was given up: until then an operator may have it sent again.
    sealed_body = models.BinaryField(null=True)
    state = models.CharField(max_length=8, choices=MailState, default=MailState.QUEUED)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    #: What the server for mails said, without what was sent.
    last_error = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["-created_at"], name="mails_newest")]

    def __str__(self) -> str:
        return f"{self.template} to {self.to}"
