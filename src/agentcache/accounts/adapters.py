"""What allauth asks us: how somebody is signed in, how seeds are kept, whose address a provider may vouch for."""

from __future__ import annotations

import base64
import logging
import secrets
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError, AuthProcess
from django.conf import settings as django_conf
from django.http import Http404, HttpRequest

from agentcache.accounts import queries
from agentcache.accounts.models import User
from agentcache.accounts.services import login, registration
from agentcache.accounts.views import providers
from agentcache.kit.crypto import DecryptionFailed, associated_data, derive, open_sealed, seal

_log = logging.getLogger(__name__)
_PLACE = associated_data("second factor", "seed")


class AccountAdapterBase(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Signs people in our way. What a new user gets from the other apps is added above this one, in `web`."""

    def welcome(self, user: User) -> None:
        """Prepare what a new user needs; part of the transaction that makes the user."""

    def farewell(self, user: User) -> None:
        """Give up what a user leaves behind; part of the transaction that deletes the user. May raise and so refuse."""

    def export(self, user: User) -> dict[str, Any]:
        """Return what other apps keep about a user."""
        return {}

    def get_login_stages(self) -> list[str]:
        """Ask for the second factor only: there is no user whose address has not been verified."""
        return ["allauth.mfa.stages.AuthenticateStage"]

    def login(self, request: HttpRequest, user: Any) -> None:
        """Begin a session, whichever way the user proved who they are."""
        user.backend = django_conf.AUTHENTICATION_BACKENDS[0]
        login.begin_session(request, user)

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Let anybody in: who may use a team is the team's own business."""
        return True

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send nothing: our own services write every mail."""

    def add_message(self, *_args: Any, **_kwargs: Any) -> None:
        """Say nothing: our own pages speak."""

    def send_notification_mail(self, *_args: Any, **_kwargs: Any) -> None:
        """Send nothing: our own services write every mail."""


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth ships no types
    """Seals what second factors are made of."""

    def get_totp_issuer(self) -> str:
        """Return the name that authenticator apps show."""
        return "AgentCache"

    def encrypt(self, text: str) -> str:
        """Seal a secret with a key derived from the server's."""
        return base64.b64encode(seal(_seed_keys()[0], text.encode(), _PLACE)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Open a sealed secret, under the server's newest key or a former one."""
        sealed = base64.b64decode(encrypted_text)
        for key in _seed_keys():
            try:
                return open_sealed(key, sealed, _PLACE).decode()
            except DecryptionFailed:
                continue
        raise DecryptionFailed

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Let our own service decide."""
        return True

    def send_notification_mail(self, *_args: Any, **_kwargs: Any) -> None:
        """Send nothing: our own services write every mail."""


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Takes in people from GitHub and Google, by an address that the provider has verified and by none else."""

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Any:
        """Return the provider's set-up; a provider that this server is not set up for has no pages."""
        try:
            return super().get_app(request, provider, client_id)
        except SocialApp.DoesNotExist as error:
            raise Http404 from error

    def generate_state_param(self, state: dict[str, Any]) -> str:
        """Return what ties the way back to this session: 256 random bits, used once."""
        return secrets.token_urlsafe(32)

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Connect a provider our way, to the account of a fresh session; anything else goes on."""
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            raise ImmediateHttpResponse(providers.connect(request, sociallogin))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        """Have our own sign-in page say what went wrong."""
        if exception is not None:
            _log.warning("a sign-in provider failed", extra={"provider": provider.sub_id, "error": repr(exception)})
        raise ImmediateHttpResponse(
            providers.turn_back(request, "cancelled" if error == AuthError.CANCELLED else "failed")
        )

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Make a new user only where the provider vouches for the address, and where nobody has an account with it.

        An account that is there is not signed in to, whoever vouches for the address: its owner connects the provider.
        """
        email = _vouched_for(sociallogin)
        if email is None:
            raise ImmediateHttpResponse(providers.turn_back(request, "unverified"))
        if queries.find_user(email) is not None:
            raise ImmediateHttpResponse(providers.turn_back(request, "taken"))
        return True

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Ask for nothing more: the address was judged above."""
        sociallogin.email_addresses = [EmailAddress(email=_vouched_for(sociallogin), verified=True, primary=True)]
        return True

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the user; unverified claims on the same address end here."""
        return registration.take_in_from_provider(request, sociallogin, _vouched_for(sociallogin) or "")


def _vouched_for(sociallogin: SocialLogin) -> str | None:
    """Return the address that a provider has verified, the primary one before others."""
    verified = [address for address in sociallogin.email_addresses if address.verified]
    verified.sort(key=lambda address: not address.primary)
    return verified[0].email.strip().lower() if verified else None


def _seed_keys() -> list[bytes]:
    signing_keys = [django_conf.SECRET_KEY, *django_conf.SECRET_KEY_FALLBACKS]
    return [derive(str(key).encode(), "second factors") for key in signing_keys]
