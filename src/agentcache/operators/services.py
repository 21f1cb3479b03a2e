"""Every write of operators: becoming one, ceasing to be one, and viewing the product as a user."""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import timedelta

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts import services as accounts
from agentcache.accounts.access import AUTHENTICATED_AT, user_of
from agentcache.accounts.models import User
from agentcache.audit import services as audit
from agentcache.audit.services import IMPERSONATOR_SESSION_KEY, Actor
from agentcache.operators.errors import LastOperator, NotToBeViewedAs, ReasonMissing, SetupLinkInvalid
from agentcache.operators.models import SetupLink
from agentcache.operators.queries import operators
from agentcache.operators.viewing import VIEWED_USER, VIEWING_UNTIL, Viewing

LINK_LIFETIME = timedelta(minutes=30)
VIEWING_SECONDS = 30 * 60
REASON_CHARS_MIN = 8
_REASON_CHARS_MAX = 300


def create_setup_link() -> str:
    """Return the token of a link that makes an operator; links that were made before and not used end."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        SetupLink.objects.filter(used_at__isnull=True).delete()
        link = SetupLink.objects.create(token_hash=_hash(token), expires_at=timezone.now() + LINK_LIFETIME)
        _note("operator_link.created", Actor.system(), link.pk, "", kind="setup_link")
    return token


def find_setup_link(token: str) -> SetupLink:
    """Return a link that still works, or raise `SetupLinkInvalid`."""
    link = SetupLink.objects.filter(
        token_hash=_hash(token), used_at__isnull=True, expires_at__gt=timezone.now()
    ).first()
    if link is None:
        raise SetupLinkInvalid
    return link


def set_up_operator(request: HttpRequest, token: str, email: str, password: str, name: str = "") -> User:
    """Use a link to make an account that is an operator's. Raises `SetupLinkInvalid` and what `accounts` refuses."""
    with transaction.atomic():
        _redeem(token)
        user = accounts.join_invited(request, email, password, name)
        _make_operator(user, Actor.of(request), by="setup_link")
    return user


def promote_by_link(request: HttpRequest, token: str) -> User:
    """Use a link to make whoever is signed in an operator. Raises `SetupLinkInvalid`."""
    user = user_of(request)
    with transaction.atomic():
        _redeem(token)
        _make_operator(user, Actor.of(request), by="setup_link")
    return user


def make_operator(request: HttpRequest, user: User) -> None:
    """Let a user into the console."""
    with transaction.atomic():
        _make_operator(user, Actor.of(request), by="console")


def end_operator(request: HttpRequest, user: User) -> None:
    """Take the console away from a user, at once. Raises `LastOperator`."""
    with transaction.atomic():
        others = operators().select_for_update().exclude(pk=user.pk)
        if user.pk == user_of(request).pk or not list(others):
            raise LastOperator
        User.objects.filter(pk=user.pk).update(is_staff=False, is_superuser=False)
        accounts.end_all_sessions(user)
        _note("operator.removed", Actor.of(request), user.pk, user.email, before={"is_operator": True})


def start_viewing(request: HttpRequest, user: User, reason: str) -> None:
    """Show the product to an operator as a user sees it, in this session, for half an hour at most."""
    reason = " ".join(reason.split())[:_REASON_CHARS_MAX]
    if len(reason) < REASON_CHARS_MIN:
        raise ReasonMissing(param="reason")
    operator = user_of(request)
    if user.is_staff or not user.is_active or user.pk == operator.pk or IMPERSONATOR_SESSION_KEY in request.session:
        raise NotToBeViewedAs
    with transaction.atomic():
        _note("impersonation.started", Actor.of(request), user.pk, user.email, after={"reason": reason})
        # The session stays the operator's: whatever ends it ends this, too.
        request.session[IMPERSONATOR_SESSION_KEY] = operator.pk
        request.session[VIEWED_USER] = user.pk
        request.session[VIEWING_UNTIL] = time.time() + VIEWING_SECONDS
        request.session.cycle_key()
        request.session.save()


def end_viewing(request: HttpRequest, viewing: Viewing, why: str) -> None:
    """Give the session back to the operator, who has to prove who they are before changing anything."""
    with transaction.atomic():
        for name in (IMPERSONATOR_SESSION_KEY, VIEWED_USER, VIEWING_UNTIL, AUTHENTICATED_AT):
            request.session.pop(name, None)
        actor = Actor(
            user_id=viewing.operator_id,
            user_email=viewing.operator_email,
            ip=str(request.META.get("agentcache.client_ip", "")),
        )
        _note("impersonation.ended", actor, viewing.user_id, viewing.user_email, after={"because": why})
        request.session.cycle_key()
        request.session.save()


def _redeem(token: str) -> None:
    # One statement decides who was first.
    now = timezone.now()
    live = SetupLink.objects.filter(token_hash=_hash(token), used_at__isnull=True, expires_at__gt=now)
    if not live.update(used_at=now):
        raise SetupLinkInvalid


def _make_operator(user: User, actor: Actor, *, by: str) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    accounts.renew_sessions(user)
    _note("operator.added", actor, user.pk, user.email, after={"is_operator": True, "by": by})


def _note(
    action: str,
    actor: Actor,
    target_id: str,
    target_name: str,
    *,
    kind: str = "user",
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    audit.record(
        action=action, actor=actor, team_id=None, target_kind=kind, target_id=target_id, target_name=target_name,
        before=before, after=after,
    )  # fmt: skip


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
