"""Signing in with GitHub and Google: whose word counts, for what, and what nobody can slip in (A1, A8)."""

from __future__ import annotations

import random
import re
import statistics
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from django.conf import settings as django_conf
from django.test import Client, override_settings

from agentcache.accounts import services
from agentcache.accounts.limits import LIMITS, Door, Limits
from agentcache.accounts.models import User
from agentcache.settings import Settings
from agentcache.web.project import django_values
from tests.support.accounts import HOST, Person, letters, stranger
from tests.support.reliability import record
from tests.support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, Account, SignInProvider
from tests.support.tiers import before_release
from tests.support.timings import ks_p_value

on_both = pytest.mark.usefixtures("project")
on_sqlite = pytest.mark.usefixtures("sqlite_project")
LOGIN = {"github": "/accounts/github/login/", "google": "/accounts/oidc/google/login/"}


@pytest.fixture
def provider(monkeypatch):
    """A provider that this project signs in with, by both of its ways."""
    with SignInProvider() as provider:
        google = {
            "provider_id": "google", "name": "Google", "client_id": CLIENT_ID, "secret": CLIENT_SECRET,
            "settings": {"server_url": provider.url},
        }  # fmt: skip
        github = {"APPS": [{"client_id": CLIENT_ID, "secret": CLIENT_SECRET}], "SCOPE": ["read:user", "user:email"]}
        found = {
            "github": {**github, "OAUTH_PKCE_ENABLED": True},
            "openid_connect": {"APPS": [google], "OAUTH_PKCE_ENABLED": True},
        }
        # allauth reads the addresses of GitHub when it is imported.
        monkeypatch.setattr(GitHubOAuth2Adapter, "access_token_url", f"{provider.url}/login/oauth/access_token")
        monkeypatch.setattr(GitHubOAuth2Adapter, "authorize_url", f"{provider.url}/login/oauth/authorize")
        monkeypatch.setattr(GitHubOAuth2Adapter, "profile_url", f"{provider.url}/api/v3/user")
        monkeypatch.setattr(GitHubOAuth2Adapter, "emails_url", f"{provider.url}/api/v3/user/emails")
        with override_settings(SOCIALACCOUNT_PROVIDERS=found):
            yield provider


@pytest.fixture(params=["github", "google"])
def way(request):
    return request.param


def browser(person: Person | None = None) -> Client:
    client = Client(HTTP_HOST=HOST, HTTP_SEC_FETCH_SITE="same-origin", REMOTE_ADDR="198.51.100.7")
    if person is not None:
        client.cookies = person.client.cookies
    return client


def begin(client, way, process="login"):
    """Press the button; return what the provider is asked."""
    answer = client.post(LOGIN[way] + (f"?process={process}" if process != "login" else ""))
    assert answer.status_code == 302, answer.content
    return answer.url


def walk(client, provider, way, process="login"):
    """Press the button, allow at the provider, come back."""
    asked = dict(parse_qsl(urlsplit(begin(client, way, process)).query))
    return client.get(provider.allow(asked))


def who(client):
    answer = client.get("/api/account/me")
    return answer.json().get("email") if answer.status_code == 200 else None


@on_both
def test_a_stranger_joins_with_a_verified_address_and_comes_back(provider, way):
    client = browser()
    assert walk(client, provider, way).url == "/dashboard"
    assert who(client) == "ada@example.com"
    user = User.objects.get()
    assert not user.has_usable_password()
    # Who it is hangs on the provider's id, and not on an address that may pass to somebody else.
    provider.account = Account(email="elsewhere@example.com")
    again = browser()
    walk(again, provider, way)
    assert who(again) == "ada@example.com"
    provider.account = Account(id=9, email="ada@example.com")
    other = browser()
    assert walk(other, provider, way).url == "/login?provider=taken"
    assert who(other) is None
    assert "sk_" not in str(SocialAccount.objects.values()) and "token" not in str(SocialAccount.objects.values("extra_data")).replace("id_token", "")  # fmt: skip


@on_both
def test_an_address_that_is_not_verified_opens_nothing_and_tells_nothing(provider, way):
    Person(email="known@example.com").join()
    services.disable(Person(email="disabled@example.com").join().user)
    Person(email="unverified@example.com").register()
    seen = set()
    for number, kind in enumerate(("known", "unknown", "unverified", "disabled")):
        provider.account = Account(id=number, email=f"{kind}@example.com", is_verified=False)
        client = browser()
        answer = walk(client, provider, way)
        assert who(client) is None
        headers = {name: value for name, value in answer.headers.items() if name != "X-AgentCache-Request-Id"}
        seen.add((answer.status_code, answer.content, str(headers)))
    assert len(seen) == 1
    assert answer.url == "/login?provider=unverified"
    assert SocialAccount.objects.count() == 0
    record("A1", door=f"{way}, unverified address", answers=len(seen))


@on_sqlite
@before_release
def test_times_of_a_provider_tell_nothing_of_an_address(provider, way, monkeypatch):
    monkeypatch.setitem(LIMITS, Door.PROVIDER, Limits())
    for attempt in range(3):
        order = [
            (f"{kind}{attempt}-{number}@example.com", kind) for kind in ("known", "unknown") for number in range(60)
        ]
        User.objects.bulk_create([User(email=email, password="!") for email, kind in order if kind == "known"])
        random.Random(attempt).shuffle(order)
        times: dict[str, list[float]] = {"known": [], "unknown": []}
        for number, (email, kind) in enumerate(order):
            provider.account = Account(id=1000 * attempt + number, email=email, is_verified=False)
            client = browser()
            back = provider.allow(dict(parse_qsl(urlsplit(begin(client, way)).query)))
            began = time.perf_counter()
            assert client.get(back).url == "/login?provider=unverified"
            times[kind].append(time.perf_counter() - began)
        p_value = ks_p_value(times["known"], times["unknown"])
        gap_ms = abs(statistics.median(times["known"]) - statistics.median(times["unknown"])) * 1000
        if p_value > 0.01:
            break
    assert p_value > 0.01, (p_value, gap_ms)
    record("A1", door=way, calls=120, p_value=round(p_value, 3), median_gap_ms=round(gap_ms, 3))


@on_both
def test_a_claim_on_the_address_dies_when_its_owner_comes_through_a_provider(provider, way):
    mallory = stranger(password="a password of an attacker")
    mallory.register()
    link = letters(mallory.email)[-1].token
    client = browser()
    walk(client, provider, way)
    assert who(client) == "ada@example.com"
    assert mallory.verify(link).status_code == 400
    assert mallory.sign_in().status_code == 401
    record("A8", violations=0, door=way, attacker_access=0)


@on_both
def test_an_account_that_is_there_is_opened_by_its_owners_session_only(provider, way):
    ada = Person(is_browser=True).join()
    stranger_with_her_address = browser()
    assert walk(stranger_with_her_address, provider, way).url == "/login?provider=taken"
    assert who(stranger_with_her_address) is None
    assert SocialAccount.objects.count() == 0
    ada.sign_in()
    client = browser(ada)
    assert walk(client, provider, way, "connect").url == "/settings/security"
    assert [mail.template for mail in letters(ada.email)] == ["factor-changed"]
    elsewhere = browser()
    walk(elsewhere, provider, way)
    assert who(elsewhere) == ada.email
    [link] = SocialAccount.objects.all()
    assert f"/settings/security/providers/{link.pk}/remove" in client.get("/settings/security").content.decode()
    assert client.post(f"/settings/security/providers/{link.pk}/remove").url == "/settings/security"
    after = browser()
    assert walk(after, provider, way).url == "/login?provider=taken"
    record("A8", violations=0, door=f"{way}, account that is there", attacker_access=0)


@on_sqlite
@pytest.mark.parametrize("case", ["stale session", "unverified address", "somebody else's", "session grown stale"])
def test_connecting_takes_a_fresh_session_and_a_vouched_address(provider, way, case):
    ada = Person(email="ada@example.com", is_browser=True).join()
    ada.sign_in()
    client = browser(ada)
    if case == "stale session":
        ada.age(16 * 60)
        answer = client.post(f"{LOGIN[way]}?process=connect")
        assert answer.url.startswith("/reauthenticate")
    elif case == "session grown stale":
        asked = dict(parse_qsl(urlsplit(begin(client, way, "connect")).query))
        ada.age(16 * 60)
        assert client.get(provider.allow(asked)).url.startswith("/reauthenticate")
    else:
        if case == "unverified address":
            provider.account = Account(is_verified=False)
        else:
            provider.account = Account(email="bob@example.com")
            walk(browser(), provider, way)
        walk(client, provider, way, "connect")
    assert not SocialAccount.objects.filter(user=ada.user).exists()


@on_sqlite
def test_a_stranger_cannot_begin_to_connect(provider, way):
    assert browser().post(f"{LOGIN[way]}?process=connect").url.startswith("/login")


@on_sqlite
def test_the_way_back_belongs_to_the_browser_that_went(provider, way):
    ada, mallory = browser(), browser()
    asked = dict(parse_qsl(urlsplit(begin(mallory, way)).query))
    assert len(asked["state"]) >= 43 and asked["code_challenge_method"] == "S256"
    back = provider.allow(asked)
    # Mallory hands the way back to Ada, whose session never went: she is not signed in as Mallory.
    begin(ada, way)
    assert ada.get(back).url == "/login?provider=failed"
    assert who(ada) is None
    # A state is used once; a forged one and none at all lead nowhere.
    assert mallory.get(back).url == "/dashboard"
    again = browser()
    again.cookies = mallory.cookies
    for wrong in (back, re.sub("state=[^&]+", "state=forged", back), re.sub("&?state=[^&]+", "", back)):
        assert "/dashboard" not in again.get(wrong).url
    # The other provider's state is no state of this one.
    other = "google" if way == "github" else "github"
    fresh = browser()
    asked = dict(parse_qsl(urlsplit(begin(fresh, other)).query))
    code = urlsplit(provider.allow(asked)).query
    assert fresh.get(f"{LOGIN[way]}callback/?{code}").url == "/login?provider=failed"


@on_sqlite
def test_a_code_without_its_verifier_is_refused_by_the_provider(provider, way):
    client = browser()
    stolen = dict(parse_qsl(urlsplit(begin(browser(), way)).query))
    own = dict(parse_qsl(urlsplit(begin(client, way)).query))
    # A stolen code with the browser's own state: PKCE ties it to the request that asked for it.
    answer = client.get(provider.allow({**stolen, "state": own["state"]}))
    assert answer.url == "/login?provider=failed"
    assert who(client) is None


@on_sqlite
@pytest.mark.parametrize(
    "wrong",
    [
        {"signs_with": "another key"}, {"signs_with": "nothing"}, {"signs_with": "a shared secret"},
        {"claims": {"aud": "somebody-else"}}, {"claims": {"iss": "https://evil.example"}},
        {"claims": {"exp": 1_600_000_000}}, {"claims": {"sub": "1"}},
    ],
    ids=lambda wrong: str(*wrong.values()),
)  # fmt: skip
def test_an_id_token_that_is_not_the_providers_word_signs_nobody_in(provider, wrong):
    for name, value in wrong.items():
        setattr(provider, name, value)
    client = browser()
    assert walk(client, provider, "google").url == "/login?provider=failed"
    assert who(client) is None and User.objects.count() == 0
    if wrong.get("signs_with") not in ("nothing", "a shared secret"):
        assert ("/o/keys", {}) in provider.asked, "nobody looked for the key"


@on_sqlite
def test_a_provider_that_is_down_or_refused_leads_back_with_a_word(provider, way):
    client = browser()
    asked = dict(parse_qsl(urlsplit(begin(client, way)).query))
    back = provider.allow(asked)
    provider.is_down = True
    assert client.get(back).url == "/login?provider=failed"
    if way == "google":
        assert client.post(LOGIN[way]).url == "/login?provider=failed"
    provider.is_down = False
    asked = dict(parse_qsl(urlsplit(begin(client, way)).query))
    denied = f"{LOGIN[way]}callback/?error=access_denied&state={asked['state']}"
    answer = client.get(denied, follow=True)
    assert "You left the provider" in answer.content.decode()


@on_sqlite
def test_a_second_factor_is_asked_for_after_the_provider_too(provider, way):
    ada = Person(is_browser=True).join()
    ada.sign_in()
    walk(browser(ada), provider, way, "connect")
    ada.add_totp()
    client = browser()
    assert walk(client, provider, way).headers["Location"].startswith(("/login/mfa", "/accounts/second-factor"))
    assert who(client) is None


@on_sqlite
def test_a_disabled_user_does_not_come_in_through_a_provider(provider, way):
    walk(browser(), provider, way)
    services.disable(User.objects.get())
    client = browser()
    walk(client, provider, way)
    assert who(client) is None


@on_sqlite
def test_the_last_way_to_sign_in_stays(provider, way):
    client = browser()
    walk(client, provider, way)
    [link] = SocialAccount.objects.all()
    client.post(f"/settings/security/providers/{link.pk}/remove")
    assert SocialAccount.objects.count() == 1
    assert "set a password first" in client.get("/settings/security").content.decode()


@on_sqlite
def test_pages_let_their_forms_lead_to_the_providers_that_are_set_up_and_nowhere_else(provider):
    policy = browser().get("/login").headers["Content-Security-Policy"]
    # Both are one host here; GitHub's is the one of the settings.
    [allowed] = re.findall(r"form-action ([^;]+)", policy)
    assert allowed == f"'self' {django_conf.AGENTCACHE.github_url} {provider.url}"
    assert "form-action 'self';" in browser().get("/forgot").headers["Content-Security-Policy"]


@on_sqlite
def test_without_a_set_up_there_is_nothing_to_press():
    client = browser()
    for path in LOGIN.values():
        assert client.post(path).status_code == 404
        assert client.get(f"{path}callback/").status_code == 404
    assert "form-action 'self';" in client.get("/login").headers["Content-Security-Policy"]


@on_sqlite
def test_a_link_elsewhere_begins_nothing_and_neither_does_a_form(provider, way):
    assert browser().get(LOGIN[way]).url == "/login"
    assert browser().post(LOGIN[way], headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert provider.asked == []


@on_sqlite
def test_beginning_is_bounded(provider, way):
    client = browser()
    answers = [client.post(LOGIN[way]).url for _ in range(32)]
    assert answers[29].startswith(provider.url)
    assert answers[30:] == ["/login?provider=too-often"] * 2


def test_github_itself_has_its_api_on_a_host_of_its_own():
    keys = {"AGENTCACHE_GITHUB_CLIENT_ID": "a", "AGENTCACHE_GITHUB_CLIENT_SECRET": "b"}
    for url, named in ((None, None), ("https://github.example.com", "https://github.example.com")):
        settings = Settings.from_env(keys | ({"AGENTCACHE_GITHUB_URL": url} if url else {}))
        assert django_values(settings, ["k"])["SOCIALACCOUNT_PROVIDERS"]["github"].get("GITHUB_URL") == named
    # What allauth takes without it.
    assert GitHubOAuth2Adapter.profile_url == "https://api.github.com/user"
