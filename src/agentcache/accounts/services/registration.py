"""Joining: registration by mail or by a provider, and changes of name and address.

Nothing that a stranger can see or time depends on whether an address has an account: the request writes one row and one
job, always the same; the worker looks the address up and decides what to write to it.
"""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts import client, hashing, limits, links, password_rules, queries
from agentcache.accounts.access import require_fresh, user_of
from agentcache.accounts.errors import EmailTaken, InvalidEmail, LinkInvalid
from agentcache.accounts.jobs import queue_mail
from agentcache.accounts.limits import Door
from agentcache.accounts.models import LinkPurpose, MailedLink, Theme, User
from agentcache.accounts.notices import note, tell
from agentcache.accounts.services.sessions import end_all_sessions, end_other_sessions
from agentcache.kit.errors import BadRequest

_NAME_CHARS_MAX = 100


def register(request: HttpRequest, email: str) -> None:
    """Take a registration down and have a link mailed; there is no user, and no password, until the link is used."""
    email = checked_email(email)
    limits.take(Door.REGISTER, account=email, address=client.address(request))
    with transaction.atomic():
        link = MailedLink.objects.create(purpose=LinkPurpose.REGISTER, email=email, created_at=timezone.now())
        queue_mail("registered", link_id=link.pk)


def resend_verification(request: HttpRequest, email: str) -> None:
    """Have the link of a registration that still waits mailed once more; the former link ends."""
    email = checked_email(email)
    limits.take(Door.VERIFY_MAIL, account=email, address=client.address(request))
    queue_mail("resend", email=email)


def verify(request: HttpRequest, token: str, password: str = "", name: str = "") -> User:
    """Use a mailed link: make a user with this password, or give a user the new address. Raises `LinkInvalid`.

    The password is that of whoever opens the mail. Were it that of whoever registered, a stranger could register
    somebody's address, wait for the owner to confirm it, and then sign in.
    """
    with hashing.SLOTS_OF_PROCESS.place():
        limits.take(Door.LINK, address=client.address(request))
        link = links.find(token, LinkPurpose.REGISTER, LinkPurpose.CHANGE_EMAIL)
        password_hash, name = "", _checked_name(name)
        if link.purpose == LinkPurpose.REGISTER:
            password_rules.require_acceptable(password, email=link.email)
            password_hash = make_password(password)
    try:
        with transaction.atomic():
            links.redeem(link)
            if link.purpose == LinkPurpose.REGISTER:
                return _join(request, link, name, password_hash)
            return _move(request, link)
    except IntegrityError:
        # Somebody else proved the same address at the same moment.
        raise LinkInvalid from None


def join_invited(request: HttpRequest, email: str, password: str, name: str = "") -> User:
    """Make a user whose address a mailed invitation has just proved. Raises `EmailTaken` when there is one."""
    with hashing.SLOTS_OF_PROCESS.place():
        email, name = checked_email(email), _checked_name(name)
        limits.take(Door.LINK, address=client.address(request))
        password_rules.require_acceptable(password, email=email)
        password_hash = make_password(password)
    try:
        with transaction.atomic():
            if queries.find_user(email) is not None:
                raise EmailTaken(param="email")
            return _make_user(request, email, name, password_hash, by="invitation")
    except IntegrityError:
        raise EmailTaken(param="email") from None


def take_in_from_provider(request: HttpRequest, sociallogin: Any, email: str) -> User:
    """Make a user for somebody whose address a provider has verified; other claims on the address end."""
    user: User = sociallogin.user
    user.email = email
    user.name = user.name[:_NAME_CHARS_MAX]
    user.set_unusable_password()
    sociallogin.email_addresses = [EmailAddress(email=email, verified=True, primary=True)]
    with transaction.atomic():
        sociallogin.save(request)
        _settle(request, user, by=sociallogin.account.provider)
    return user


def change_email(request: HttpRequest, email: str) -> None:
    """Have a link mailed to a new address; the account moves when it is used. Says nothing of whether it is taken."""
    require_fresh(request)
    user, email = user_of(request), checked_email(email)
    limits.take(Door.CHANGE_EMAIL, account=user.pk, address=client.address(request))
    with transaction.atomic():
        MailedLink.objects.filter(user=user, purpose=LinkPurpose.CHANGE_EMAIL).delete()
        link = MailedLink.objects.create(
            purpose=LinkPurpose.CHANGE_EMAIL, email=email, user=user, created_at=timezone.now()
        )
        queue_mail("change_email", link_id=link.pk)
        note(request, user, "account.email_change_requested")


def change_profile(
    user: User, *, name: str | None = None, theme: str | None = None, has_shortcuts: bool | None = None
) -> None:
    """Change what a user is called, how pages look to them, and whether they listen to single keys."""
    if name is not None:
        user.name = _checked_name(name)
    if theme is not None:
        if theme not in Theme.values:
            raise BadRequest(f"A theme is one of {', '.join(Theme.values)}.", param="theme")
        user.theme = theme
    if has_shortcuts is not None:
        user.has_shortcuts = has_shortcuts
    user.save(update_fields=["name", "theme", "has_shortcuts"])


def disable(user: User, request: HttpRequest | None = None) -> None:
    """Shut a user out at once, on every device."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=False)
        end_all_sessions(user)
        note(request, user, "account.disabled")
    user.is_active = False


def enable(user: User, request: HttpRequest | None = None) -> None:
    """Let a user in again."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=True)
        note(request, user, "account.enabled")
    user.is_active = True


def checked_email(email: str) -> str:
    """Return an address as it is kept: in lower case. Raises `InvalidEmail`."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidEmail(param="email") from None
    if len(email) > 254:
        raise InvalidEmail(param="email")
    return email


def _checked_name(name: str) -> str:
    name = name.strip()
    if len(name) > _NAME_CHARS_MAX or not name.isprintable():
        raise BadRequest(f"A name has at most {_NAME_CHARS_MAX} printable characters.", param="name")
    return name


def _join(request: HttpRequest, link: MailedLink, name: str, password_hash: str) -> User:
    if queries.find_user(link.email) is not None:
        raise LinkInvalid
    return _make_user(request, link.email, name, password_hash, by="e-mail")


def _make_user(request: HttpRequest, email: str, name: str, password_hash: str, *, by: str) -> User:
    user = User(email=email, name=name, password=password_hash)
    user.save(force_insert=True)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    _settle(request, user, by=by)
    return user


def _settle(request: HttpRequest, user: User, *, by: str) -> None:
    # Whoever else claimed this address has proved nothing: their registrations and what hangs on them end.
    MailedLink.objects.filter(email=user.email).exclude(purpose=LinkPurpose.RESET).delete()
    get_adapter().welcome(user)
    note(request, user, "account.registered", after={"by": by})


def _move(request: HttpRequest, link: MailedLink) -> User:
    user = User.objects.select_for_update().filter(pk=link.user_id, is_active=True).first()
    if user is None or queries.find_user(link.email) is not None:
        raise LinkInvalid
    former, user.email = user.email, link.email
    user.save(update_fields=["email"])
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    # Links that went to the former mailbox prove nothing any more.
    MailedLink.objects.filter(user=user).exclude(pk=link.pk).delete()
    MailedLink.objects.filter(email=user.email, purpose=LinkPurpose.REGISTER).delete()
    if request.user.is_authenticated and request.user.pk == user.pk:
        end_other_sessions(request)
    else:
        end_all_sessions(user)
    for mailbox in (former, user.email):
        tell(request, user, "email-changed", to=mailbox, former=former)
    note(request, user, "account.email_changed", before={"email": former}, after={"email": user.email})
    return user
