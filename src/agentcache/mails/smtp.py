"""Hands mails to an SMTP server. Knows nothing of Django, so that `agentcache doctor` can ask, too."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from agentcache.kit.errors import AgentCacheError

SMTP_SECONDS = 20.0
_PERMANENT = 500


class MailNotSent(AgentCacheError):
    """The mail could not be handed on."""

    code = "mail_not_sent"

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


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

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._port}"

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


def _said(code: int, reason: bytes | str) -> str:
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    return f"{code} {' '.join(text.split())}"
