"""Signing in with GitHub and Google, walked in a browser: through the policy of our pages, another site, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser.control_plane import ControlPlane, control_plane  # sets Django up
from tests.support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, Account, SignInProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[SignInProvider]:
    """On another site than ours, as browsers see it."""
    with SignInProvider(host="localhost") as provider:
        yield provider


@pytest.fixture(scope="module")
def site(tmp_path_factory, provider) -> Iterator[ControlPlane]:
    """Pages that know both providers."""
    from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter

    github = {
        "AGENTCACHE_GITHUB_URL": provider.url, "AGENTCACHE_GITHUB_CLIENT_ID": CLIENT_ID,
        "AGENTCACHE_GITHUB_CLIENT_SECRET": CLIENT_SECRET, "AGENTCACHE_EGRESS_ALLOW": "127.0.0.1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        # allauth reads the addresses of GitHub when it is imported.
        patch.setattr(GitHubOAuth2Adapter, "access_token_url", f"{provider.url}/login/oauth/access_token")
        patch.setattr(GitHubOAuth2Adapter, "authorize_url", f"{provider.url}/login/oauth/authorize")
        patch.setattr(GitHubOAuth2Adapter, "profile_url", f"{provider.url}/api/v3/user")
        patch.setattr(GitHubOAuth2Adapter, "emails_url", f"{provider.url}/api/v3/user/emails")
        folder = tmp_path_factory.mktemp("site")
        with control_plane(folder, lambda: _with_google(provider), AGENTCACHE_TRUSTED_PROXIES="1", **github) as site:
            yield site


def _with_google(provider):
    """Google's address is no setting of the product."""
    from django.conf import settings

    app = {
        "provider_id": "google", "name": "Google", "client_id": CLIENT_ID, "secret": CLIENT_SECRET,
        "settings": {"server_url": provider.url},
    }  # fmt: skip
    google = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
    return {"SOCIALACCOUNT_PROVIDERS": {**settings.SOCIALACCOUNT_PROVIDERS, **google}}


def go(visitor, path, button, choice="Allow"):
    """Press a provider's button, and what one presses there."""
    visitor.open(path)
    # From a page of the provider's, the way back to our own address looks foreign, too.
    with visitor.expecting("^foreign: GET http://localhost", f"^foreign: GET {visitor.site.url}/"):
        visitor.page.get_by_role("button", name=button).click()
        visitor.page.wait_for_url("http://localhost:*/**")
        visitor.page.get_by_role("link", name=choice).click()
        visitor.page.wait_for_url("http://127.0.0.1:*/**")
    return visitor.page


def test_a_stranger_joins_with_github_and_comes_back(visit, site, provider):
    ada = visit(site)
    provider.account = Account(id=1, email=ada.email)
    assert go(ada, "/signup", "Continue with GitHub").url.startswith(f"{site.url}/dashboard")
    again = visit(site)
    page = go(again, "/login?next=%2Fsettings%2Fprofile", "Continue with GitHub")
    assert page.url == f"{site.url}/settings/profile"
    expect(page.locator("body")).to_contain_text(ada.email)


def test_somebody_joins_with_google(visit, site, provider):
    ada = visit(site)
    provider.account = Account(id=3, email=ada.email)
    page = go(ada, "/login", "Continue with Google")
    assert page.url == f"{site.url}/dashboard"


def test_what_a_provider_refuses_is_said_on_the_sign_in_page(visit, site, provider, inspect):
    ada = visit(site)
    page = go(ada, "/login", "Continue with Google", "Deny")
    expect(page.locator("main")).to_contain_text("You left the provider's page")
    provider.account = Account(email=ada.email, is_verified=False)
    page = go(ada, "/login", "Continue with Google")
    expect(page.locator("main")).to_contain_text("has not verified your e-mail address")
    inspect(page, "account-login-provider")


def test_github_is_connected_to_an_account_and_taken_off(visit, site, provider, inspect):
    ada = visit(site)
    provider.account = Account(id=2, email=ada.email)
    go(ada, "/signup", "Continue with Google")
    stranger = visit(site, "eve")
    page = go(stranger, "/login", "Continue with GitHub")
    expect(page.locator("main")).to_contain_text("has an account here already")
    page = go(ada, "/settings/security", "Connect GitHub")
    assert page.url == f"{site.url}/settings/security"
    inspect(page, "account-security-providers")
    again = visit(site, "again")
    assert go(again, "/login", "Continue with GitHub").url.startswith(f"{site.url}/dashboard")
    ada.page.get_by_role("button", name="Disconnect GitHub").click()
    expect(ada.page.get_by_role("button", name="Connect GitHub")).to_be_visible()
    expect(ada.page.get_by_role("button", name="Disconnect GitHub")).to_have_count(0)
