"""Signing in with GitHub and Google, walked in a browser: through the policy of our pages, another site, and back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

from tests.support.asgi_server import ASGIServer
from tests.support.browser.site import Site
from tests.support.django_project import use_settings
from tests.support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, Account, SignInProvider


@pytest.fixture
def provider() -> Iterator[SignInProvider]:
    """On another site than ours, as browsers see it."""
    with SignInProvider(host="localhost") as provider:
        yield provider


@pytest.fixture
def github_site(tmp_path, provider) -> Iterator[Site]:
    settings = {
        "AGENTCACHE_GITHUB_URL": provider.url, "AGENTCACHE_GITHUB_CLIENT_ID": CLIENT_ID,
        "AGENTCACHE_GITHUB_CLIENT_SECRET": CLIENT_SECRET,
    }  # fmt: skip
    with Site(tmp_path / "site", **settings) as site:
        yield site


@dataclass
class Pages:
    """The control plane alone."""

    url: str


@pytest.fixture
def google_site(tmp_path, migrated_sqlite, provider) -> Iterator[Pages]:
    """A control plane in this process, for Google's address is no setting of the product."""
    from django.test import override_settings

    from agentcache.settings import Settings

    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache")})
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.app_db)
    app = {
        "provider_id": "google", "name": "Google", "client_id": CLIENT_ID, "secret": CLIENT_SECRET,
        "settings": {"server_url": provider.url},
    }  # fmt: skip
    set_up = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
    # The server is made within the settings, which its middleware reads once.
    with ExitStack() as stack:
        stack.enter_context(use_settings(settings))
        stack.enter_context(override_settings(SOCIALACCOUNT_PROVIDERS=set_up))
        yield Pages(stack.enter_context(ASGIServer(_control_plane(), lifespan="off")).url)


def _control_plane() -> Callable[..., object]:
    from django.core.handlers.asgi import ASGIHandler

    from agentcache.web.static_files import STATIC_URL, StaticFiles

    pages, static_files = ASGIHandler(), StaticFiles()

    async def control_plane(scope, receive, send):
        if scope["path"].startswith(STATIC_URL):
            await static_files(scope, send)
        else:
            await pages(scope, receive, send)

    return control_plane


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


def test_a_stranger_joins_with_github_and_comes_back(visit, github_site, provider):
    ada = visit(github_site)
    provider.account = Account(id=1, email=ada.email)
    assert go(ada, "/signup", "Continue with GitHub").url.startswith(f"{github_site.url}/dashboard")
    again = visit(github_site)
    page = go(again, "/login?next=%2Fsettings%2Fprofile", "Continue with GitHub")
    assert page.url == f"{github_site.url}/settings/profile"
    expect(page.locator("body")).to_contain_text(ada.email)


def test_somebody_joins_with_google(visit, google_site, provider):
    ada = visit(google_site)
    provider.account = Account(id=3, email=ada.email)
    page = go(ada, "/login", "Continue with Google")
    assert page.url == f"{google_site.url}/dashboard"


def test_what_a_provider_refuses_is_said_on_the_sign_in_page(visit, google_site, provider, inspect):
    ada = visit(google_site)
    page = go(ada, "/login", "Continue with Google", "Deny")
    expect(page.locator("main")).to_contain_text("You left the provider's page")
    provider.account = Account(email=ada.email, is_verified=False)
    page = go(ada, "/login", "Continue with Google")
    expect(page.locator("main")).to_contain_text("has not verified your e-mail address")
    inspect(page, "account-login-provider")


def test_github_is_connected_to_an_account_and_taken_off(visit, github_site, provider, inspect):
    ada = visit(github_site).sign_up()
    provider.account = Account(id=2, email=ada.email)
    stranger = visit(github_site, "eve")
    page = go(stranger, "/login", "Continue with GitHub")
    expect(page.locator("main")).to_contain_text("has an account here already")
    page = go(ada, "/settings/security", "Connect GitHub")
    assert page.url == f"{github_site.url}/settings/security"
    inspect(page, "account-security-providers")
    again = visit(github_site, "again")
    assert go(again, "/login", "Continue with GitHub").url.startswith(f"{github_site.url}/dashboard")
    ada.page.get_by_role("button", name="Disconnect GitHub").click()
    expect(ada.page.get_by_role("button", name="Connect GitHub")).to_be_visible()
    expect(ada.page.get_by_role("button", name="Disconnect GitHub")).to_have_count(0)
