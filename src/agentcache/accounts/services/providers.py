"""Connecting GitHub or Google to an account that is there, and taking them off again."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.http import HttpRequest

from agentcache.accounts.access import require_fresh, user_of
from agentcache.accounts.errors import FactorNotFound, FactorRefused
from agentcache.accounts.notices import note, tell

_NAMES = {"github": "GitHub", "google": "Google"}


def connect_provider(request: HttpRequest, sociallogin: Any) -> None:
    """Let somebody who has just signed in at a provider sign in to this account that way. Raises `FactorRefused`.

    Only from within a fresh session of the account: that a provider vouches for the same address is not enough.
    """
    require_fresh(request)
    user = user_of(request)
    account = sociallogin.account
    with transaction.atomic():
        known = SocialAccount.objects.filter(provider=account.provider, uid=account.uid).first()
        if known is not None and known.user_id != user.pk:
            raise FactorRefused("That account signs in to somebody else here.")
        if known is None:
            SocialAccount.objects.create(
                user=user, provider=account.provider, uid=account.uid, extra_data=account.extra_data
            )
            tell(request, user, "factor-changed", what=f"signing in with {sociallogin.provider.name} was added")
            note(request, user, "account.provider.connected", after={"provider": account.provider})


def disconnect_provider(request: HttpRequest, link_id: int) -> None:
    """Take a provider's account from the ways to sign in. Raises `FactorNotFound`, and `FactorRefused` for the last way."""
    require_fresh(request)
    user = user_of(request)
    with transaction.atomic():
        links = SocialAccount.objects.select_for_update().filter(user=user)
        found = links.filter(pk=link_id).first()
        if found is None:
            raise FactorNotFound
        has_passkey = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).exists()
        if not (user.has_usable_password() or has_passkey or links.exclude(pk=link_id).exists()):
            raise FactorRefused("It is your only way to sign in; set a password first.")
        found.delete()
        tell(
            request,
            user,
            "factor-changed",
            what=f"signing in with {_NAMES.get(found.provider, found.provider)} was removed",
        )
        note(request, user, "account.provider.disconnected", before={"provider": found.provider})
