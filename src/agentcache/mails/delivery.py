"""The ways out of the server: an SMTP server, or a folder on a laptop."""

from __future__ import annotations

import smtplib
import ssl
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from agentcache.kit.errors import AgentCacheError
from agentcache.mails.models import Mail
from agentcache.mails.services import Body
from agentcache.settings import Settings

SMTP_SECONDS = 20.0
_PERMANENT = 500


class MailNotSent(AgentCacheError):
    """The mail could not be handed on."""

    code = "mail_not_sent"

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


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


class SMTPServer:
    """Hands mails to an SMTP server: `smtp://` (encrypted where the server can; always with `?starttls`), `smtps://`."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._is_encrypted = parts.scheme == "smtps"
        self._needs_encryption = "starttls" in parse_qs(parts.query, keep_blank_values=True)
        self._port = parts.port or (465 if self._is_encrypted else 587)
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._context = context

    def deliver(self, message: EmailMessage) -> None:
        """Hand the mail to the server."""
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, reason = next(iter(error.recipients.values()))
            raise MailNotSent(_said(code, reason), is_final=code >= _PERMANENT) from error
        except smtplib.SMTPResponseException as error:
            # A wrong password is the operator's to mend; the mail waits.
            is_final = error.smtp_code >= _PERMANENT and not isinstance(error, smtplib.SMTPAuthenticationError)
            raise MailNotSent(_said(error.smtp_code, error.smtp_error), is_final=is_final) from error
        except (OSError, smtplib.SMTPException) as error:
            raise MailNotSent(type(error).__name__, is_final=False) from error

    def check(self) -> None:
        """Connect, encrypt and sign in, as far as the URL says so; raises `MailNotSent`."""
        try:
            with self._connected() as server:
                server.noop()
        except smtplib.SMTPResponseException as error:
            raise MailNotSent(_said(error.smtp_code, error.smtp_error), is_final=False) from error
        except (OSError, smtplib.SMTPException) as error:
            raise MailNotSent(f"{type(error).__name__}: {error}", is_final=False) from error

    def _connected(self) -> smtplib.SMTP:
        context = self._context or ssl.create_default_context()
        server: smtplib.SMTP
        if self._is_encrypted:
            server = smtplib.SMTP_SSL(self._host, self._port, timeout=SMTP_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=SMTP_SECONDS)
        try:
            server.ehlo()
            if not self._is_encrypted and (self._needs_encryption or server.has_extn("starttls")):
                server.starttls(context=context)
                server.ehlo()
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server


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


def _said(code: int, reason: bytes | str) -> str:
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    return f"{code} {' '.join(text.split())}"
