"""Links that prove a mailbox: 32 random bytes, kept as a hash, good for half an hour and for one use."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings as django_conf
from django.utils import timezone

from agentcache.accounts.errors import LinkInvalid
from agentcache.accounts.models import LinkPurpose, MailedLink
from agentcache.settings import Settings

LINK_MINUTES = 30
#: A registration that nobody confirmed can be sent again for this long; then it is forgotten.
REGISTRATION_KEPT = timedelta(days=1)

#: The pages that take a token and send it on by POST, so that a mail scanner that follows links uses nothing up.
_PAGES = {LinkPurpose.REGISTER: "/verify", LinkPurpose.CHANGE_EMAIL: "/verify", LinkPurpose.RESET: "/reset"}


def arm(link: MailedLink) -> str:
    """Give a link a new token, which ends a former one, and return its address, built from the settings alone."""
    token = secrets.token_urlsafe(32)
    link.token_hash = hash_token(token)
    link.expires_at = timezone.now() + timedelta(minutes=LINK_MINUTES)
    link.save(update_fields=["token_hash", "expires_at"])
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    return f"{settings.origin}{_PAGES[LinkPurpose(link.purpose)]}?token={token}"


def find(token: str, *purposes: LinkPurpose) -> MailedLink:
    """Return the link of a token that could be redeemed now. Raises `LinkInvalid`."""
    link = MailedLink.objects.filter(token_hash=hash_token(token), purpose__in=purposes).first()
    if link is None or link.used_at is not None or link.expires_at is None or link.expires_at <= timezone.now():
        raise LinkInvalid
    return link


def peek(token: str, *purposes: LinkPurpose) -> MailedLink | None:
    """Return the link of a token for the page that asks whether to redeem it; None when it is of no use."""
    try:
        return find(token, *purposes)
    except LinkInvalid:
        return None


def redeem(link: MailedLink) -> None:
    """Use a link up, within the transaction of what it is for. Raises `LinkInvalid` for all callers but one."""
    now = timezone.now()
    unused = MailedLink.objects.filter(pk=link.pk, token_hash=link.token_hash, used_at__isnull=True, expires_at__gt=now)
    if unused.update(used_at=now) != 1:
        raise LinkInvalid


def prune() -> int:
    """Delete links that cannot be used or sent again; return how many."""
    return MailedLink.objects.filter(created_at__lt=timezone.now() - REGISTRATION_KEPT).delete()[0]


def hash_token(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode(errors="replace")).digest()
