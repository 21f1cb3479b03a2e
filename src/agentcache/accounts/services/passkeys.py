"""Passkeys: made for this host only, asked for under one challenge each, always with the device's own check of the user."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from allauth.mfa.models import Authenticator
from django.conf import settings as django_conf
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from agentcache.accounts.access import require_fresh, user_of
from agentcache.accounts.errors import FactorNotFound, FactorRefused, InvalidCode
from agentcache.accounts.models import User
from agentcache.accounts.services import factors
from agentcache.settings import Settings

_STATE = "passkey_challenge"
#: A challenge is good for this long, in seconds.
_CHALLENGE_SECONDS = 300
_PASSKEYS_MAX = 20
_NAME_CHARS_MAX = 64


def begin_passkey(request: HttpRequest) -> dict[str, Any]:
    """Return what the browser needs to make a passkey."""
    require_fresh(request)
    user = user_of(request)
    options, state = _server(request).register_begin(
        PublicKeyCredentialUserEntity(id=user.pk.encode(), name=user.email, display_name=user.name or user.email),
        credentials=[_credential(row) for row in _passkeys_of(user)],
        resident_key_requirement=ResidentKeyRequirement.PREFERRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    _keep_state(request, "create", state)
    return dict(options)


def add_passkey(request: HttpRequest, credential: dict[str, Any], name: str) -> list[str]:
    """Keep a passkey that the browser has made; return recovery codes if there were none."""
    require_fresh(request)
    user = user_of(request)
    name = _checked_name(name)
    state = _take_state(request, "create")
    try:
        made = _server(request).register_complete(state, credential)
    except (ValueError, TypeError, KeyError) as wrong:
        raise InvalidCode from wrong
    if made.credential_data is None:
        raise InvalidCode
    with transaction.atomic():
        if _passkeys_of(user).count() >= _PASSKEYS_MAX:
            raise FactorRefused(f"There are {_PASSKEYS_MAX} passkeys already; remove one first.")
        data = {
            "name": name,
            "credential_data": websafe_encode(bytes(made.credential_data)),
            "sign_count": made.counter,
        }
        Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
        codes = factors.first_recovery_codes(user)
        factors.added_passkey(request, user)
    return codes


def rename_passkey(request: HttpRequest, passkey_id: int, name: str) -> None:
    """Call a passkey something else."""
    row = _passkeys_of(user_of(request)).filter(pk=passkey_id).first()
    if row is None:
        raise FactorNotFound(param="passkey_id")
    row.data["name"] = _checked_name(name)
    row.save(update_fields=["data"])


def remove_passkey(request: HttpRequest, passkey_id: int) -> None:
    """Remove a passkey. Raises `FactorNotFound`, `FactorRefused`."""
    require_fresh(request)
    user = user_of(request)
    with transaction.atomic():
        row = _passkeys_of(user).select_for_update().filter(pk=passkey_id).first()
        if row is None:
            raise FactorNotFound(param="passkey_id")
        factors.remove(request, user, row, f"the passkey “{row.data['name']}” was removed", "passkey.removed")


def challenge(request: HttpRequest, user: User | None) -> dict[str, Any]:
    """Return what the browser needs to ask for a passkey, of a user or of anybody."""
    options, state = _server(request).authenticate_begin(
        credentials=[_credential(row) for row in _passkeys_of(user)] if user is not None else None,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    _keep_state(request, "get", state)
    return dict(options)


def accept(request: HttpRequest, credential: dict[str, Any]) -> User:
    """Return whose passkey has answered the challenge. Raises `InvalidCode`; the challenge is used up either way."""
    state = _take_state(request, "get")
    try:
        answer = AuthenticationResponse.from_dict(credential)
        handle = answer.response.user_handle
        user = _user_of_handle(request, handle)
        with transaction.atomic():
            rows = list(_passkeys_of(user).select_for_update())
            used = _server(request).authenticate_complete(state, [_credential(row) for row in rows], answer)
            row = next(row for row in rows if _credential(row).credential_id == used.credential_id)
            _count_use(row, answer.response.authenticator_data.counter)
    except (ValueError, TypeError, KeyError) as wrong:
        raise InvalidCode from wrong
    return user


def _user_of_handle(request: HttpRequest, handle: bytes | None) -> User:
    from agentcache.accounts.queries import find_pending_user

    user: User | None
    if handle:
        user = User.objects.filter(pk=bytes(handle).decode(), is_active=True).first()
    else:
        # Keys that keep no handle serve as a second factor only, when it is known who signs in.
        user = request.user if isinstance(request.user, User) else find_pending_user(request)
    if user is None or not user.is_active:
        raise InvalidCode
    return user


def _count_use(row: Authenticator, counter: int) -> None:
    kept = row.data.get("sign_count", 0)
    # Authenticators that do not count answer 0 for ever; one that counted and does not go on was copied.
    if (kept or counter) and counter <= kept:
        raise InvalidCode
    row.data["sign_count"] = counter
    row.last_used_at = timezone.now()
    row.save(update_fields=["data", "last_used_at"])


def _server(request: HttpRequest) -> Fido2Server:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    origin = settings.public_url or f"{request.scheme}://{request.get_host()}"
    entity = PublicKeyCredentialRpEntity(id=urlsplit(origin).hostname or "", name="AgentCache")
    return Fido2Server(entity, verify_origin=lambda given: given == origin)


def _passkeys_of(user: User) -> Any:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).order_by("created_at")


def _credential(row: Authenticator) -> AttestedCredentialData:
    return AttestedCredentialData(websafe_decode(row.data["credential_data"]))


def _keep_state(request: HttpRequest, kind: str, state: dict[str, Any]) -> None:
    request.session[_STATE] = {"kind": kind, "at": time.time(), "state": state}


def _take_state(request: HttpRequest, kind: str) -> dict[str, Any]:
    kept = request.session.pop(_STATE, None)
    if not kept or kept["kind"] != kind or not 0 <= time.time() - kept["at"] <= _CHALLENGE_SECONDS:
        raise InvalidCode
    state: dict[str, Any] = kept["state"]
    return state


def _checked_name(name: str) -> str:
    name = name.strip() or "Passkey"
    if len(name) > _NAME_CHARS_MAX or not name.isprintable():
        raise FactorRefused(f"A name has at most {_NAME_CHARS_MAX} printable characters.", param="name")
    return name
