"""Mails that tell the owner what happened to the account, and the record of it."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings as django_conf
from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts import client
from agentcache.accounts.models import User
from agentcache.audit import services as audit
from agentcache.mails import services as mails
from agentcache.settings import Settings


def tell(
    request: HttpRequest | None, user: User, template: str, *, to: str = "", key: str | None = None, **context: object
) -> None:
    """Queue a mail to the owner of the account, within the caller's transaction."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    mails.send(
        template,
        to or user.email,
        {
            "name": user.name,
            "email": user.email,
            "at": f"{timezone.now():%Y-%m-%d %H:%M} UTC",
            "device": client.describe(request) if request is not None else "",
            "network": client.network(request) if request is not None else "",
            "security_url": f"{settings.origin}/settings/security",
            "forgot_url": f"{settings.origin}/forgot",
            **context,
        },
        key=key,
    )


def note(
    request: HttpRequest | None,
    user: User,
    action: str,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write to the audit log, within the caller's transaction."""
    audit.record(
        action=action,
        actor=audit.Actor.of(request) if request is not None else audit.Actor.system(),
        team_id=None,
        target_kind="user",
        target_id=user.pk,
        target_name=user.email,
        before=before,
        after=after,
    )
