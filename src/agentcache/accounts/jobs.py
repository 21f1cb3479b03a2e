"""Mails that are decided upon out of sight of whoever asked for them."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from agentcache.accounts import limits, links
from agentcache.accounts.models import LinkPurpose, MailedLink, User
from agentcache.accounts.notices import tell
from agentcache.accounts.queries import find_user
from agentcache.jobs.services import enqueue
from agentcache.kit.ids import new_id

#: Names of the jobs.
WRITE_MAIL = "accounts.write_mail"
PRUNE = "accounts.prune"
PRUNE_EVERY_SECONDS = 3600.0


def queue_mail(occasion: str, *, link_id: str = "", email: str = "") -> None:
    """Have the worker decide what to mail; within the caller's transaction."""
    enqueue(new_id(), WRITE_MAIL, {"occasion": occasion, "link_id": link_id, "email": email}, timezone.now())


def write_mail(payload: dict[str, object]) -> None:
    """Do a job of `queue_mail`. A job that is done twice mails a second link, and the first one ends."""
    occasion, link_id, email = (str(payload.get(name, "")) for name in ("occasion", "link_id", "email"))
    with transaction.atomic():
        if occasion == "forgot":
            _forgot(email)
        elif occasion == "resend":
            _invite_to_verify(_newest_registration(email))
        elif occasion == "registered":
            _invite_to_verify(MailedLink.objects.filter(pk=link_id, used_at__isnull=True).first())
        elif occasion == "change_email":
            _invite_to_move(MailedLink.objects.filter(pk=link_id, used_at__isnull=True).first())


def prune() -> None:
    """Forget sessions that ended, links that cannot be used, counts that cannot matter."""
    from agentcache.accounts.services.sessions import prune as prune_sessions

    prune_sessions()
    links.prune()
    limits.prune()


def _invite_to_verify(link: MailedLink | None) -> None:
    if link is None:
        return
    user = find_user(link.email)
    if user is None:
        stranger = User(email=link.email)
        tell(None, stranger, "verify", link=links.arm(link), minutes=links.LINK_MINUTES)
        return
    # The registration changes nothing of the account that is there, not even its password.
    link.delete()
    if user.is_active:
        tell(None, user, "account-exists")


def _forgot(email: str) -> None:
    user = find_user(email)
    if user is None or not user.is_active:
        return
    MailedLink.objects.filter(user=user, purpose=LinkPurpose.RESET).delete()
    link = MailedLink.objects.create(purpose=LinkPurpose.RESET, email=user.email, user=user, created_at=timezone.now())
    tell(None, user, "reset", link=links.arm(link), minutes=links.LINK_MINUTES)


def _invite_to_move(link: MailedLink | None) -> None:
    if link is None or link.user is None:
        return
    owner = find_user(link.email)
    if owner is not None:
        tell(None, owner, "account-exists")
        link.delete()
        return
    tell(None, link.user, "confirm-email", to=link.email, link=links.arm(link), minutes=links.LINK_MINUTES)


def _newest_registration(email: str) -> MailedLink | None:
    waiting = MailedLink.objects.filter(purpose=LinkPurpose.REGISTER, email=email, used_at__isnull=True)
    return waiting.filter(created_at__gt=timezone.now() - links.REGISTRATION_KEPT).order_by("-created_at").first()
