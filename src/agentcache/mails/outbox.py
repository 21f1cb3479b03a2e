"""Reads the mails that lie in the outbox folder of a laptop."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from agentcache.settings import Settings

#: The newest ones; the folder keeps them all.
SHOWN_MAX = 100
_NAME = re.compile(r"(\d{15})-([0-9A-Za-z_]+)\.eml")


@dataclass(frozen=True, slots=True)
class OutboxMail:
    """One mail, opened."""

    id: str
    at: datetime
    to: str
    subject: str
    text: str
    html: str


def is_shown(settings: Settings) -> bool:
    """Say whether `/dev/mail` exists: mails go nowhere else, and nobody but this machine can ask for them."""
    return (
        settings.smtp_url is None and settings.is_local and settings.public_url is None and not settings.trusted_proxies
    )


def list_outbox(folder: Path) -> list[OutboxMail]:
    """Return the newest mails, newest first."""
    try:
        names = sorted((path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
    except OSError:
        return []
    found = (_read(folder / name) for name in names[:SHOWN_MAX])
    return [mail for mail in found if mail is not None]


def find_in_outbox(folder: Path, mail_id: str) -> OutboxMail | None:
    """Return the mail with an id, or None."""
    return next((mail for mail in list_outbox(folder) if mail.id == mail_id), None)


def _read(path: Path) -> OutboxMail | None:
    match = _NAME.fullmatch(path.name)
    try:
        content = path.read_bytes()
    except OSError:
        return None  # deleted meanwhile
    assert match is not None
    message = email.message_from_bytes(content, policy=email.policy.default)
    return OutboxMail(
        id=match[2],
        at=datetime.fromtimestamp(int(match[1]) / 1000, UTC),
        to=str(message["To"]),
        subject=str(message["Subject"]),
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return "" if body is None else str(body.get_content())
