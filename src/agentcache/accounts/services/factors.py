"""Adding and removing second factors. Every one of these needs a fresh session, and the owner is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.db import transaction
from django.http import HttpRequest

from agentcache.accounts import client, limits
from agentcache.accounts.access import require_fresh, user_of
from agentcache.accounts.errors import FactorNotFound, FactorRefused, InvalidCode
from agentcache.accounts.limits import Door
from agentcache.accounts.models import User
from agentcache.accounts.notices import note, tell
from agentcache.accounts.services import codes
from agentcache.accounts.services.sessions import end_kept_sessions

_SETUP = "totp_setup"


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """What an authenticator app is told: by a picture, by a link on the same device, or by hand."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    qr_svg: str = field(repr=False)


def begin_totp(request: HttpRequest) -> TotpSetup:
    """Offer a seed for an authenticator app; the same until it is confirmed."""
    require_fresh(request)
    user = user_of(request)
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        raise FactorRefused("There is an authenticator app already; remove it first.")
    secret = request.session.get(_SETUP) or generate_totp_secret()
    request.session[_SETUP] = secret
    adapter = get_adapter()
    uri = adapter.build_totp_url(user, secret)
    return TotpSetup(secret, uri, adapter.build_totp_svg(uri))


def confirm_totp(request: HttpRequest, code: str) -> list[str]:
    """Add the app, once it has shown a right code; return recovery codes if there were none."""
    require_fresh(request)
    user = user_of(request)
    secret = request.session.get(_SETUP)
    if not secret:
        raise FactorRefused("Begin with a new code to scan.")
    limits.take(Door.SECOND_FACTOR, account=user.pk, address=client.address(request))
    step = codes.matching_step(secret, "".join(code.split()))
    if step is None:
        raise InvalidCode
    limits.forgive(Door.SECOND_FACTOR, account=user.pk, address=client.address(request))
    with transaction.atomic():
        if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
            raise FactorRefused("There is an authenticator app already; remove it first.")
        codes.keep_totp(user, secret, step)
        made = first_recovery_codes(user)
        _told(request, user, "an authenticator app was added", "totp.added")
    del request.session[_SETUP]
    return made


def remove_totp(request: HttpRequest) -> None:
    """Remove the authenticator app. Raises `FactorNotFound`, `FactorRefused`."""
    require_fresh(request)
    user = user_of(request)
    with transaction.atomic():
        found = Authenticator.objects.select_for_update().filter(user=user, type=Authenticator.Type.TOTP).first()
        if found is None:
            raise FactorNotFound
        remove(request, user, found, "the authenticator app was removed", "totp.removed")


def renew_recovery_codes(request: HttpRequest) -> list[str]:
    """Replace the recovery codes; the former ones end."""
    require_fresh(request)
    user = user_of(request)
    if not _others_than_recovery_codes(user).exists():
        raise FactorRefused("Recovery codes stand in for an authenticator app or a passkey; add one first.")
    with transaction.atomic():
        made = codes.new_recovery_codes(user)
        _told(request, user, "the recovery codes were replaced", "recovery_codes.renewed")
    return made


def first_recovery_codes(user: User) -> list[str]:
    """Return new recovery codes if the user has none yet."""
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).exists():
        return []
    return codes.new_recovery_codes(user)


def remove(request: HttpRequest, user: User, factor: Authenticator, what: str, action: str) -> None:
    """Remove a factor, and with the last one the recovery codes; within the caller's transaction."""
    is_last = not _others_than_recovery_codes(user).exclude(pk=factor.pk).exists()
    if is_last and user.has_short_password:
        raise FactorRefused("Your password is short and safe beside a second factor only; choose a longer one first.")
    factor.delete()
    if is_last:
        Authenticator.objects.filter(user=user).delete()
        end_kept_sessions(request)
    _told(request, user, what, action)


def added_passkey(request: HttpRequest, user: User) -> None:
    """Tell the owner of a new passkey; within the caller's transaction."""
    _told(request, user, "a passkey was added", "passkey.added")


def _others_than_recovery_codes(user: User) -> Any:
    return Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.RECOVERY_CODES)


def _told(request: HttpRequest, user: User, what: str, action: str) -> None:
    tell(request, user, "factor-changed", what=what)
    note(request, user, f"account.{action}")
