"""The way to GitHub and Google and back. allauth walks it; these say who may begin, and what is said when it fails."""

from __future__ import annotations

import logging
from typing import Any

from allauth.core.internal.deferred import jwt
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter, OAuth2CallbackView, OAuth2LoginView, OAuth2View
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agentcache.accounts import client, limits, services
from agentcache.accounts.access import fresh_session
from agentcache.accounts.errors import FactorNotFound, FactorRefused, TooManyAttempts
from agentcache.accounts.limits import Door
from agentcache.accounts.views.pages import form_page, with_next

#: What became of a visit to a provider, as the sign-in page says it.
NEWS = {
    "unverified": "The provider has not verified your e-mail address. Verify it there, or sign up with it here.",
    "taken": "Your address has an account here already. Sign in to it, then connect the provider under Settings, Security.",
    "cancelled": "You left the provider's page before you were signed in.",
    "failed": "The provider could not sign you in. Try again, or take another way.",
    "too-often": "That was tried too often from your network. Wait some minutes, or take another way.",
}
_SIGNATURES = ("RS256", "PS256", "ES256")
_log = logging.getLogger(__name__)


class VerifiedOpenIDConnect(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth ships no types
    """Believes an ID token by its signature only, and a profile only where both speak of one person."""

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> Any:
        """Return who has signed in at the provider."""
        login = super().complete_login(request, app, token, **kwargs)
        said = login.account.extra_data
        if said.get("id_token", {}).get("sub") != said.get("userinfo", {}).get("sub"):
            raise OAuth2Error("The ID token and the profile name two people")
        return login

    def _decode_id_token(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        try:
            algorithm = jwt.get_unverified_header(id_token).get("alg")
        except jwt.PyJWTError as error:
            raise OAuth2Error("Invalid id_token") from error
        if algorithm not in _SIGNATURES:
            raise OAuth2Error("The ID token is not signed by a key of the provider's")
        claims: dict[str, Any] = jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.openid_config["jwks_uri"],
            issuer=self.openid_config["issuer"],
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
        )
        return claims


@form_page
def begin(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Send somebody to a provider, to sign in or to connect it to the account. Only by a form of our own pages."""
    if request.method != "POST":
        return redirect(with_next(request, "accounts:login"))
    if request.GET.get("process") == "connect":
        return _begin_connecting(request, provider_id=provider_id)
    return _lead(request, provider_id)


@fresh_session
def _begin_connecting(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    return _lead(request, provider_id)


@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Take somebody back from a provider."""
    return _walk(request, OAuth2CallbackView, provider_id)


def turn_back(request: HttpRequest, news: str) -> HttpResponse:
    """Return to where the visit began, and say what became of it."""
    if request.user.is_authenticated:
        messages.error(request, NEWS[news])
        return redirect("accounts:security")
    return redirect(f"{reverse('accounts:login')}?provider={news}")


def connect(request: HttpRequest, sociallogin: Any) -> HttpResponseBase:
    """Connect the provider's account to that of the session, which has to be fresh still."""

    @fresh_session
    def connected(request: HttpRequest) -> HttpResponseBase:
        if not any(address.verified for address in sociallogin.email_addresses):
            return turn_back(request, "unverified")
        try:
            services.connect_provider(request, sociallogin)
        except FactorRefused as refusal:
            messages.error(request, refusal.message)
        else:
            messages.success(request, "You can sign in with it from now on.")
        return redirect("accounts:security")

    return connected(request)


@require_POST
@fresh_session
def disconnect(request: HttpRequest, link_id: int) -> HttpResponse:
    """Take a provider from the ways to sign in."""
    try:
        services.disconnect_provider(request, link_id)
    except FactorRefused as refusal:
        messages.error(request, refusal.message)
    except FactorNotFound:
        messages.info(request, "It was disconnected already.")
    else:
        messages.success(request, "It does not sign in to this account any more.")
    return redirect("accounts:security")


def _lead(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    try:
        limits.take(Door.PROVIDER, address=client.address(request))
    except TooManyAttempts:
        return turn_back(request, "too-often")
    return _walk(request, OAuth2LoginView, provider_id)


def _walk(request: HttpRequest, view: type[OAuth2View], provider_id: str) -> HttpResponseBase:
    try:
        answer: HttpResponseBase = view.adapter_view(_adapter(request, provider_id))(request)
    except (OSError, KeyError) as error:
        # What allauth's HTTP client raises, and what a description without an endpoint makes it raise.
        _log.warning("a sign-in provider cannot be reached", extra={"provider": provider_id, "error": repr(error)})
        return turn_back(request, "failed")
    return answer


def _adapter(request: HttpRequest, provider_id: str) -> type[OAuth2Adapter] | OAuth2Adapter:
    return GitHubOAuth2Adapter if provider_id == "github" else VerifiedOpenIDConnect(request, provider_id)
