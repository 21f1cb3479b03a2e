"""Every read of the queue of mails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentcache.mails.models import Mail, MailState


@dataclass(frozen=True, slots=True)
class MailQueue:
    """How mails leave."""

    #: When the mail was written that waits longest; None when none waits.
    oldest_waiting: datetime | None
    #: Whether a mail of the last day was given up.
    gave_up_lately: bool


def mail_queue(now: datetime) -> MailQueue:
    """Return how mails leave at the moment."""
    waiting = Mail.objects.filter(state=MailState.QUEUED).order_by("created_at")
    day_ago = now - timedelta(days=1)
    return MailQueue(
        waiting.values_list("created_at", flat=True).first(),
        Mail.objects.filter(state=MailState.FAILED, created_at__gte=day_ago).exists(),
    )
