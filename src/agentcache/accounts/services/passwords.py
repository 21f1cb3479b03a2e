"""Resetting and changing passwords."""

from __future__ import annotations

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest

from agentcache.accounts import client, hashing, limits, links, password_rules, queries
from agentcache.accounts.access import require_fresh, user_of
from agentcache.accounts.errors import InvalidCredentials, LinkInvalid
from agentcache.accounts.jobs import queue_mail
from agentcache.accounts.limits import Door
from agentcache.accounts.models import LinkPurpose, MailedLink, User
from agentcache.accounts.notices import note, tell
from agentcache.accounts.services.registration import checked_email
from agentcache.accounts.services.sessions import end_all_sessions, end_other_sessions


def forgot_password(request: HttpRequest, email: str) -> None:
    """Have a link mailed, if the address has an account; says nothing of whether it has."""
    email = checked_email(email)
    limits.take(Door.RESET_MAIL, account=email, address=client.address(request))
    queue_mail("forgot", email=email)


def reset_password(request: HttpRequest, token: str, password: str) -> None:
    """Set a new password by a mailed link, end every session and tell the owner. Does not sign in."""
    with hashing.SLOTS_OF_PROCESS.place():
        limits.take(Door.LINK, address=client.address(request))
        link = links.find(token, LinkPurpose.RESET)
        user = User.objects.filter(pk=link.user_id, is_active=True).first()
        if user is None:
            raise LinkInvalid
        password_rules.require_acceptable(password, email=user.email, has_factor=queries.has_second_factor(user))
        password_hash = make_password(password)
        with transaction.atomic():
            links.redeem(link)
            _set(user, password, password_hash)
            end_all_sessions(user)
            MailedLink.objects.filter(user=user, purpose=LinkPurpose.RESET).exclude(pk=link.pk).delete()
            tell(request, user, "password-changed")
            note(request, user, "account.password_reset")
        limits.forget(Door.LOGIN, user.email)


def change_password(request: HttpRequest, current: str, new: str) -> None:
    """Set a new password, end the other sessions and tell the owner.

    Somebody who joined through GitHub or Google has no current password: a fresh sign-in stands in for it.
    """
    require_fresh(request)
    user = user_of(request)
    with hashing.SLOTS_OF_PROCESS.place():
        if user.has_usable_password():
            limits.take(Door.LOGIN, account=user.email, address=client.address(request))
            if len(current) > password_rules.CHARS_MAX or not user.check_password(current):
                raise InvalidCredentials("The current password is wrong.", param="current_password")
            limits.forgive(Door.LOGIN, account=user.email, address=client.address(request))
        password_rules.require_acceptable(new, email=user.email, has_factor=queries.has_second_factor(user))
        password_hash = make_password(new)
    with transaction.atomic():
        _set(user, new, password_hash)
        MailedLink.objects.filter(user=user, purpose=LinkPurpose.RESET).delete()
        update_session_auth_hash(request, user)
        request.session.save()
        end_other_sessions(request)
        tell(request, user, "password-changed")
        note(request, user, "account.password_changed")


def _set(user: User, password: str, password_hash: str) -> None:
    user.password = password_hash
    user.has_short_password = password_rules.is_short(password)
    user.save(update_fields=["password", "has_short_password"])
