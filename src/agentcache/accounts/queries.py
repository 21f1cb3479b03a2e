"""Every read of accounts beyond a plain get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.internal.stagekit import unstash_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import get_adapter as get_provider_adapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings as django_conf
from django.contrib.sessions.backends.base import SessionBase
from django.db.models.functions import Lower
from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts import client
from agentcache.accounts.models import LoginSession, User
from agentcache.accounts.session_store import hash_session_id


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey in a list."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Factors:
    """What proves a user beside the password."""

    totp_since: datetime | None
    recovery_codes_left: int
    passkeys: tuple[Passkey, ...]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session in a list of devices."""

    id: str
    browser: str
    system: str
    network: str
    started_at: datetime
    last_seen_at: datetime
    is_current: bool
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody else's sign-in; its page takes a POST, and `next` as a query."""

    id: str
    name: str
    login_url: str
    #: Where that page sends people on to, which the browser has to allow.
    origin: str


@dataclass(frozen=True, slots=True)
class ProviderLink:
    """An account at a provider that signs in to an account here."""

    id: int
    name: str
    since: datetime


def has_verified_email(user: User) -> bool:
    """Say whether somebody has shown that the mailbox of a user's address is theirs."""
    return bool(EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=True).exists())


def find_user(email: str) -> User | None:
    """Return the user of an address, in any letter case; also one that is disabled."""
    # By the expression of the unique index, which `iexact` would not use.
    return User.objects.annotate(lowered=Lower("email")).filter(lowered=email.lower()).first()


def find_pending_user(request: HttpRequest) -> User | None:
    """Return who has given the first factor in this session and not yet the second."""
    pending = unstash_login(request, peek=True)
    return pending.user if pending is not None and isinstance(pending.user, User) else None


def pending_factors(request: HttpRequest) -> tuple[str, ...]:
    """Return the kinds of factor that would finish the sign-in of this session; none when there is nothing to finish."""
    user = find_pending_user(request)
    if user is None:
        return ()
    return tuple(sorted(set(Authenticator.objects.filter(user=user).values_list("type", flat=True))))


def has_second_factor(user: User) -> bool:
    """Say whether a password alone does not sign this user in."""
    return bool(Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.RECOVERY_CODES).exists())


def factors_of(user: User) -> Factors:
    """Return what proves a user beside the password."""
    rows = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    totp = next((row.created_at for row in rows if row.type == Authenticator.Type.TOTP), None)
    left = sum(len(row.data["hashes"]) for row in rows if row.type == Authenticator.Type.RECOVERY_CODES)
    passkeys = tuple(
        Passkey(row.pk, row.data["name"], row.created_at, row.last_used_at)
        for row in rows
        if row.type == Authenticator.Type.WEBAUTHN
    )
    return Factors(totp, left, passkeys)


def sessions_of(user: User, current: SessionBase | None = None) -> list[SessionRow]:
    """Return the live sessions of a user, the one last used first."""
    own = hash_session_id(current.session_key) if current is not None and current.session_key else ""
    live = LoginSession.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-last_seen_at")
    return [
        SessionRow(
            row.handle,
            *client.browser_and_system(row.user_agent),
            row.network,
            row.started_at,
            row.last_seen_at,
            row.session_key == own,
            row.is_kept,
        )
        for row in live
    ]


def sign_in_providers(request: HttpRequest) -> list[Provider]:
    """Return the providers that this server is set up for."""
    found = []
    for app in get_provider_adapter().list_apps(request):
        provider = app.get_provider(request)
        base = app.settings.get("server_url") or django_conf.AGENTCACHE.github_url  # type: ignore[misc]  # put there by web.project
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(base))
        found.append(Provider(app.provider_id or app.provider, provider.name, provider.get_login_url(request), origin))
    return found


def provider_links_of(user: User, provider_id: str) -> list[ProviderLink]:
    """Return the accounts at a provider that sign in to this one."""
    return [
        ProviderLink(row.pk, _called(row.extra_data), row.date_joined)
        for row in SocialAccount.objects.filter(user=user, provider=provider_id).order_by("date_joined")
    ]


def _called(profile: dict[str, Any]) -> str:
    # Google's profile lies one level deeper than GitHub's.
    profile = profile.get("userinfo") or profile
    return str(profile.get("login") or profile.get("email") or profile.get("name") or "")


def export_of(user: User) -> dict[str, Any]:
    """Return everything that is kept about a person, as plain JSON; no secrets."""
    factors = factors_of(user)
    return {
        "format": "agentcache.account/1",
        "exported_at": timezone.now().isoformat(),
        "profile": {
            "id": user.pk,
            "email": user.email,
            "name": user.name,
            "theme": user.theme,
            "created_at": user.created_at.isoformat(),
            "last_login": user.last_login.isoformat() if user.last_login else None,
        },
        "second_factors": {
            "totp_since": factors.totp_since.isoformat() if factors.totp_since else None,
            "recovery_codes_left": factors.recovery_codes_left,
            "passkeys": [{"name": key.name, "created_at": key.created_at.isoformat()} for key in factors.passkeys],
        },
        "sign_in_providers": [
            {"provider": row.provider, "uid": row.uid, "data": row.extra_data}
            for row in SocialAccount.objects.filter(user=user)
        ],
        "sessions": [
            {
                "browser": row.browser,
                "system": row.system,
                "network": row.network,
                "started_at": row.started_at.isoformat(),
                "last_seen_at": row.last_seen_at.isoformat(),
            }
            for row in sessions_of(user)
        ],
        **get_adapter().export(user),
    }
