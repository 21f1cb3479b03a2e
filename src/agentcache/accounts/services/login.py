"""Signing in, in one step or in two, proving once more who one is, and signing out."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.stages import LoginStage, LoginStageController
from allauth.mfa.stages import AuthenticateStage
from django.contrib.auth import login as begin
from django.contrib.auth import logout as end
from django.contrib.auth.hashers import check_password
from django.db import transaction
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from agentcache.accounts import client, devices, hashing, limits, password_rules, queries
from agentcache.accounts.access import AUTHENTICATED_AT, SIGNED_OUT, user_of
from agentcache.accounts.errors import InvalidCode, InvalidCredentials, NoPendingLogin
from agentcache.accounts.limits import Door
from agentcache.accounts.models import User
from agentcache.accounts.notices import note, tell
from agentcache.accounts.services import codes, passkeys
from agentcache.accounts.services.sessions import SESSIONS_MAX, end_oldest
from agentcache.accounts.session_store import HANDLE, KEPT, NETWORK, STARTED_AT, USER_AGENT
from agentcache.kit.ids import new_id

# What a password is held against where there is no account: the same work, and nobody's password.
_NOBODYS_HASH = (
    "argon2$argon2id$v=19$m=47104,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

#: In `request.META`: the second factor was given, with the wish to be kept signed in.
_KEEP = "agentcache.keep"


class SignIn(StrEnum):
    """How far a sign-in has come."""

    DONE = "signed_in"
    SECOND_FACTOR = "second_factor_required"


def sign_in(request: HttpRequest, email: str, password: str) -> SignIn:
    """Sign in with address and password; a second factor may have to follow. Raises `InvalidCredentials`."""
    email = email.strip().lower()
    with hashing.SLOTS_OF_PROCESS.place():
        subject = {"account": email, "address": client.address(request), "device": devices.device_of(request, email)}
        limits.take(Door.LOGIN, **subject)
        user = _proven(email, password)
        if user is None:
            raise InvalidCredentials
        limits.forgive(Door.LOGIN, **subject)
    if request.user.is_authenticated:
        # Else a session that is there already would pass for one that the second factor has still to begin.
        end(request)
    perform_password_login(request, {"email": email}, Login(user=user, email=email))
    return SignIn.DONE if request.user.is_authenticated else SignIn.SECOND_FACTOR


def finish_sign_in(request: HttpRequest, code: str, *, keep: bool = False) -> None:
    """Give the second factor: a code of the app, or a recovery code. Raises `InvalidCode`, `NoPendingLogin`."""
    stage, user = _pending(request)
    request.META[_KEEP] = keep
    with _counted_factor(request, user):
        if not codes.accept(user, code):
            raise InvalidCode
    stage.exit()


def finish_sign_in_with_passkey(request: HttpRequest, credential: dict[str, Any], *, keep: bool = False) -> None:
    """Give a passkey as the second factor. Raises `InvalidCode`, `NoPendingLogin`."""
    stage, user = _pending(request)
    request.META[_KEEP] = keep
    with _counted_factor(request, user):
        if passkeys.accept(request, credential) != user:
            raise InvalidCode
    stage.exit()


def passkey_options(request: HttpRequest) -> dict[str, Any]:
    """Return what the browser asks a passkey for: any passkey of a stranger, the user's own of somebody known."""
    user = request.user if request.user.is_authenticated else queries.find_pending_user(request)
    return passkeys.challenge(request, user if isinstance(user, User) else None)


def sign_in_with_passkey(request: HttpRequest, credential: dict[str, Any], *, keep: bool = False) -> None:
    """Sign in by a passkey alone, which is two factors at once: the device, and who may use it."""
    with _counted_factor(request, None):
        user = passkeys.accept(request, credential)
    request.META[_KEEP] = keep
    begin_session(request, user)


def reauthenticate(
    request: HttpRequest, *, password: str = "", code: str = "", credential: dict[str, Any] | None = None
) -> None:
    """Prove once more who one is, by any one thing that signs in; the session gets a new id."""
    user = user_of(request)
    if credential is not None:
        with _counted_factor(request, user):
            if passkeys.accept(request, credential) != user:
                raise InvalidCode
    elif code:
        with _counted_factor(request, user):
            if not codes.accept_totp(user, code):
                raise InvalidCode
    else:
        with hashing.SLOTS_OF_PROCESS.place():
            # The session proves the device well enough: strangers cannot use up its tries.
            device = devices.device_of(request, user.email) or f"session/{request.session.get(HANDLE)}"
            limits.take(Door.LOGIN, account=user.email, device=device)
            if _proven(user.email, password) != user:
                raise InvalidCredentials("The password is wrong.")
            limits.forgive(Door.LOGIN, account=user.email, device=device)
    request.session.cycle_key()
    request.session[AUTHENTICATED_AT] = time.time()
    note(request, user, "session.reauthenticated")


def sign_out(request: HttpRequest) -> None:
    """End this session, at once and for every worker."""
    if isinstance(request.user, User):
        note(request, request.user, "session.signed_out")
    end(request)
    request.META[SIGNED_OUT] = True


def begin_session(request: HttpRequest, user: User) -> None:
    """Begin a session for somebody who has proved who they are; whatever session there was gets a new id."""
    is_first = user.last_login is None
    is_known = bool(devices.device_of(request, user.email))
    with transaction.atomic():
        begin(request, user, backend="django.contrib.auth.backends.ModelBackend")
        now = time.time()
        request.session.update(
            {
                STARTED_AT: now,
                AUTHENTICATED_AT: now,
                HANDLE: new_id(),
                NETWORK: client.network(request),
                USER_AGENT: client.user_agent(request),
                # Operators hold too much for a browser that was left open.
                KEPT: bool(request.META.get(_KEEP)) and not user.is_staff,
            }
        )
        request.session.save()
        note(request, user, "session.signed_in")
        if not is_known and not is_first:
            device = salted_hmac("agentcache.device_notice", f"{client.user_agent(request)} {client.network(request)}")
            tell(request, user, "new-device", key=f"new-device:{user.pk}:{device.hexdigest()}")
        if end_oldest(user):
            tell(request, user, "oldest-session-ended", sessions_max=SESSIONS_MAX)
    devices.remember(request, user.email)


def _proven(email: str, password: str) -> User | None:
    """Return the user of an address if the password is theirs; takes as long when there is no such user."""
    user = queries.find_user(email)
    if len(password) > password_rules.CHARS_MAX:
        return None
    try:
        password.encode()
    except UnicodeEncodeError:
        return None
    if user is None or not user.has_usable_password():
        check_password(password, _NOBODYS_HASH)
        return None
    return user if user.check_password(password) and user.is_active else None


def _pending(request: HttpRequest) -> tuple[LoginStage, User]:
    stage = LoginStageController.enter(request, AuthenticateStage.key)
    user = queries.find_pending_user(request)
    if stage is None or user is None or not user.is_active:
        raise NoPendingLogin
    return stage, user


class _counted_factor:  # noqa: N801 - reads as the function that it replaces
    """Counts a try at a second factor of any kind; one that succeeds is taken back."""

    def __init__(self, request: HttpRequest, user: User | None) -> None:
        self._subject = {"account": user.pk if user is not None else "", "address": client.address(request)}

    def __enter__(self) -> None:
        limits.take(Door.SECOND_FACTOR, **self._subject)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            limits.forgive(Door.SECOND_FACTOR, **self._subject)
