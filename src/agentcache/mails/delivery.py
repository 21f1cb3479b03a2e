"""The ways out of the server: an SMTP server, or a folder on a laptop."""

from __future__ import annotations

import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from agentcache.mails.models import Mail
from agentcache.mails.services import Body
from agentcache.mails.smtp import MailNotSent, SMTPServer
from agentcache.settings import Settings


class Delivery(Protocol):
    """A way out."""

    def deliver(self, message: EmailMessage) -> None:
        """Hand a mail on; raises `MailNotSent`. May block."""


class Outbox:
    """Keeps mails as files, for laptops: `outbox/<time>-<id>.eml` in the data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, message: EmailMessage) -> None:
        """Write the mail down."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mail_id = str(message["Message-ID"]).strip("<>").partition("@")[0]
        unfinished = self._folder / f"{mail_id}.unfinished"
        try:
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(message.as_bytes())
            unfinished.rename(self._folder / f"{int(time.time() * 1000):015d}-{mail_id}.eml")
        except OSError as error:
            raise MailNotSent(f"outbox: {error.strerror}", is_final=False) from error


def open_delivery(settings: Settings) -> Delivery:
    """Return the way out that the settings choose."""
    if settings.smtp_url is not None:
        return SMTPServer(settings.smtp_url)
    return Outbox(outbox_dir(settings))


def outbox_dir(settings: Settings) -> Path:
    """Return the folder where mails lie when there is no SMTP server."""
    return settings.data_dir / "outbox"


def message_of(mail: Mail, body: Body, settings: Settings) -> EmailMessage:
    """Return a mail as it goes out. Raises `ValueError` for line breaks in a header."""
    message = EmailMessage(policy=SMTP)
    host = urlsplit(settings.origin).hostname or "localhost"
    message["From"] = settings.mail_from or f"AgentCache <agentcache@{host}>"
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    # The same for each try, so that a mail that was sent twice is seen once.
    message["Message-ID"] = f"<{mail.pk}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.text)
    message.add_alternative(body.html, subtype="html")
    return message
