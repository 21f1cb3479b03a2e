"""The way out for mails."""

from __future__ import annotations

from agentcache.cli.checks.finding import Finding, fail, ok, warn
from agentcache.settings import Settings

PART = "mails"


def check_mails(settings: Settings) -> list[Finding]:
    """Connect to the SMTP server and sign in, as mails do; nothing is sent."""
    if settings.smtp_url is None:
        return [_without_server(settings)]
    from agentcache.mails.smtp import MailNotSent, SMTPServer

    server = SMTPServer(settings.smtp_url)
    try:
        server.check()
    except MailNotSent as error:
        mend = (
            "Check AGENTCACHE_SMTP_URL: host, port, user, password, and smtps:// or ?starttls as the server wants it."
        )
        return [fail(PART, "smtp", f"{server.place}: {error.reason}", mend)]
    findings = [ok(PART, "smtp", f"{server.place} takes mails")]
    if settings.mail_from is None:
        mend = "Set AGENTCACHE_MAIL_FROM to an address that your SMTP server may send from."
        findings.append(warn(PART, "from", "mails come from an address made of the server's own host name", mend))
    return findings


def _without_server(settings: Settings) -> Finding:
    if settings.is_local and settings.public_url is None:
        return ok(
            PART, "smtp", f"none set; mails lie in {settings.data_dir / 'outbox'} and on {settings.origin}/dev/mail"
        )
    return warn(
        PART,
        "smtp",
        "none set, and others can reach this server: nobody gets the links to sign up or to reset a password",
        "Set AGENTCACHE_SMTP_URL, such as smtp://user:password@mail.example.com:587?starttls",
    )
