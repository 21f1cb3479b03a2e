"""Every page of the dashboard in every state: it fits, everybody can use it, and a picture of it is kept."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.support.browser.team_member import create_key, resume
from tests.support.browser.visitor import Visitor

#: Before the first call.
EMPTY = (
    "/dashboard", "/dashboard/analytics/cost", "/dashboard/analytics/latency", "/dashboard/requests",
    "/dashboard/cache", "/dashboard/keys", "/dashboard/team/invites", "/dashboard/team/usage", "/dashboard/billing",
    "/dashboard/policies", "/dashboard/policies/versions",
)  # fmt: skip
IN_USE = (
    "/dashboard", "/dashboard/analytics/cost?compare=1", "/dashboard/analytics/latency", "/dashboard/analytics/tokens",
    "/dashboard/analytics/errors", "/dashboard/analytics/freshness", "/dashboard/requests", "/dashboard/cache",
    "/dashboard/keys", "/dashboard/keys/new", "/dashboard/team", "/dashboard/team/invites/new", "/dashboard/team/roles",
    "/dashboard/team/settings", "/dashboard/team/usage", "/dashboard/team/usage?by=agents", "/dashboard/audit",
    "/dashboard/billing", "/dashboard/billing/limit", "/dashboard/team/delete", "/dashboard/team/leave",
    "/dashboard/team/new", "/dashboard/team/switch", "/dashboard/policies/new?preset=news",
)  # fmt: skip


def name_of(state: str, path: str) -> str:
    """Return what the pictures of a page are called."""
    return f"{state}-" + (re.sub(r"\W+", "-", path.removeprefix("/dashboard")).strip("-") or "overview")


@pytest.fixture(scope="module")
def _windows(_turns, _browser, sqlite_site):
    """One window for each state: to open one takes longer than to look at a page."""
    with _turns.taken():
        open_window = partial(Visitor.of, _browser)
        windows = {is_in_use: resume(open_window, sqlite_site, is_in_use=is_in_use) for is_in_use in (False, True)}
    yield windows
    with _turns.taken():
        for window in windows.values():
            window.close()


@pytest.fixture
def newcomer(browser, _windows):
    """Somebody whose team has not made a call."""
    with _windows[False].answering() as window:
        yield window


@pytest.fixture
def ada(browser, _windows):
    """Somebody whose team is in use."""
    with _windows[True].answering() as window:
        yield window


@pytest.mark.parametrize("path", EMPTY)
def test_a_page_before_the_first_call(newcomer, inspect, path):
    inspect(newcomer.open(path), name_of("empty", path))


@pytest.mark.parametrize("path", IN_USE)
def test_a_page_in_use(ada, inspect, path):
    inspect(ada.open(path), name_of("used", path))


@pytest.mark.parametrize("noun", ["keys", "cache", "requests", "team"])
def test_one_of_each(ada, inspect, noun):
    page = ada.open(f"/dashboard/{noun}")
    page.goto(page.locator("main tbody a").first.get_attribute("href"))
    here = page.url
    inspect(page, f"one-of-{noun}")
    for form in {"keys": ("change", "rotate", "revoke"), "cache": ("delete",)}.get(noun, ()):
        inspect(ada.open(f"{here}/{form}"), f"one-of-{noun}-{form}")
    if noun == "cache":
        inspect(ada.open(f"{here}?answer=1"), "one-of-cache-answer")
    if noun in ("keys", "cache"):
        ada.open(here)
        page.locator(".danger-zone [data-dialog]").click()
        inspect(page, f"one-of-{noun}-dialog")


def test_what_is_open_on_a_page_and_what_is_wrong_with_it(ada, inspect):
    page = ada.open("/dashboard")
    page.evaluate("for (const one of document.querySelectorAll('details.menu, figure details')) one.open = true")
    page.locator(".definition summary").first.click()
    page.evaluate("for (const one of document.querySelectorAll('details.menu')) one.open = true")
    inspect(page, "open-menus")
    page = ada.open("/dashboard/keys")
    page.keyboard.press("?")
    inspect(page, "open-keyboard-help")
    ada.open("/dashboard/keys/new")
    ada.fill(name="x" * 40, networks="not an address")
    ada.press("Create key")
    page.locator(".field-error").first.wait_for()
    inspect(page, "wrong-key")
    create_key(ada, "Shown once")
    inspect(page, "key-shown-once")
    ada.open("/dashboard/analytics/cost?zone=Mars/Olympus")
    inspect(page, "wrong-zone")
    ada.open("/dashboard/requests?model=nothing-of-the-kind")
    inspect(page, "used-nothing-found")
    assert page.goto("/nowhere").status == 404
    inspect(page, "error-404")
