"""Where GitHub and Google send people back to, and the names by which allauth finds our own pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.urls import path, reverse

from agentcache.accounts.views import providers


def _to(name: str, **query: str) -> Any:
    def lead_on(request: HttpRequest, **_parts: object) -> HttpResponseRedirect:
        passed = request.GET.copy()
        passed.update(query)
        return HttpResponseRedirect(reverse(name) + (f"?{passed.urlencode()}" if passed else ""))

    return lead_on


urlpatterns = [
    path("github/login/", providers.begin, {"provider_id": "github"}, name="github_login"),
    path("github/login/callback/", providers.callback, {"provider_id": "github"}, name="github_callback"),
    path("oidc/<str:provider_id>/login/", providers.begin, name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", providers.callback, name="openid_connect_callback"),
    path("login", _to("accounts:login"), name="account_login"),
    path("signup", _to("accounts:signup"), name="account_signup"),
    path("inactive", _to("accounts:login"), name="account_inactive"),
    path("reauthenticate", _to("accounts:reauthenticate"), name="account_reauthenticate"),
    path("second-factor", _to("accounts:second-factor"), name="mfa_authenticate"),
    path("provider/signup", _to("accounts:login", provider="unverified"), name="socialaccount_signup"),
    path("provider/cancelled", _to("accounts:login", provider="cancelled"), name="socialaccount_login_cancelled"),
    path("provider/error", _to("accounts:login", provider="failed"), name="socialaccount_login_error"),
    path("provider/connections", _to("accounts:security"), name="socialaccount_connections"),
]
