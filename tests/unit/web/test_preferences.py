"""Theme and single keys are kept with the account, or in the browser; afterwards the visitor is where they were."""

import re

import pytest
from django.test import Client

from agentcache.accounts.models import User
from agentcache.design.context import THEME_COOKIE
from tests.support.accounts import Person
from tests.support.sessions import HOST, browser_of

pytestmark = pytest.mark.usefixtures("project")


def browser(**headers):
    return Client(HTTP_HOST=HOST, HTTP_SEC_FETCH_SITE="same-origin", **headers)


@pytest.fixture
def user():
    return Person().join().user


def test_a_strangers_theme_is_kept_in_the_browser_and_shown():
    visitor = browser()
    answer = visitor.post("/preferences", {"theme": "dark", "next": "/login?next=/dashboard"})
    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/dashboard")
    cookie = answer.cookies[THEME_COOKIE]
    assert (cookie.value, cookie["samesite"], bool(cookie["httponly"])) == ("dark", "Lax", True)
    assert 'data-theme="dark"' in visitor.get("/login").content.decode()


def test_the_forms_lead_back_to_the_page_they_stand_on(user):
    page = browser_of(user).get("/settings/appearance?a=1&b=2").content.decode()
    choice = re.search(r"<form[^>]*data-theme-choice>(.*?)</form>", page, re.DOTALL)
    assert choice and '<input type="hidden" name="next" value="/settings/appearance?a=1&amp;b=2">' in choice[1]


def test_an_account_keeps_its_theme_and_its_keys_wherever_it_is_used(user):
    answer = browser_of(user).post("/preferences", {"theme": "light"})
    assert answer.status_code == 302 and THEME_COOKIE not in answer.cookies
    browser_of(user).post("/preferences", {"single_keys": "off"})
    kept = User.objects.get(pk=user.pk)
    assert (kept.theme, kept.has_shortcuts) == ("light", False)
    browser_of(user).post("/preferences", {"single_keys": "on"})
    kept = User.objects.get(pk=user.pk)
    assert (kept.theme, kept.has_shortcuts) == ("light", True)


@pytest.mark.parametrize("given", [{"theme": "pink"}, {"theme": ""}, {"single_keys": "maybe"}, {"theme": "dark", "single_keys": ""}],
                         ids=["theme", "no-theme", "keys", "one-of-two"])  # fmt: skip
def test_what_is_unknown_is_refused_and_changes_nothing(user, given):
    before = User.objects.filter(pk=user.pk).values("theme", "has_shortcuts").get()
    assert browser_of(user).post("/preferences", given).status_code == 400
    assert User.objects.filter(pk=user.pk).values("theme", "has_shortcuts").get() == before


@pytest.mark.parametrize(("wanted", "referer", "leads_to"), [
    ("", "", "/"),
    ("//evil.example/x", "", "/"),
    ("https://evil.example/x", "", "/"),
    ("/\\evil.example", "", "/"),
    ("", f"http://{HOST}/login?next=/a", "/login?next=/a"),
    ("", f"http://{HOST}//evil.example", "/"),
    ("", "https://evil.example/login", "/"),
    ("", "http://[evil/login", "/"),
], ids=["nothing", "no-scheme", "foreign", "backslash", "referer", "referer-double", "referer-foreign", "referer-broken"])  # fmt: skip
def test_nobody_is_led_to_another_site(wanted, referer, leads_to):
    answer = browser(HTTP_REFERER=referer).post("/preferences", {"theme": "dark", "next": wanted})
    assert (answer.status_code, answer["Location"]) == (302, leads_to)


def test_a_page_that_has_changed_itself_is_not_sent_another():
    answer = browser(HTTP_X_REQUESTED_WITH="fetch").post("/preferences", {"theme": "light"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.cookies[THEME_COOKIE].value == "light"


def test_only_a_form_of_ours_changes_anything(user):
    assert browser().get("/preferences").status_code == 405
    foreign = browser_of(user)
    assert foreign.post("/preferences", {"theme": "dark"}, HTTP_SEC_FETCH_SITE="cross-site").status_code == 403
    assert User.objects.get(pk=user.pk).theme != "dark"
