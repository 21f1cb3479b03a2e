"""What people do on the dashboard: make a key, wait until calls are counted, share a browser's session."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.browser.people import new_key
from tests.support.browser.site import Site
from tests.support.browser.visitor import Visitor

API_KEY = re.compile(r"ac_live_[0-9A-Za-z]{38}")
#: How long calls may take until pages show them, on a machine that is busy.
COUNTED_WITHIN_SECONDS = 60.0


def create_key(visitor: Visitor, name: str = "Production", **fields: str) -> str:
    """Make a key on the pages; return what is shown this once."""
    visitor.open("/dashboard/keys/new")
    visitor.fill(name=name, **fields)
    visitor.press("Create key")
    shown = visitor.page.locator("main pre").first.inner_text().strip()
    assert API_KEY.fullmatch(shown), shown
    return shown


def figure(page: Page, label: str) -> Any:
    """Return the locator of a key figure's value."""
    return (
        page.locator(".stat")
        .filter(has=page.locator(".stat-label", has_text=re.compile(rf"^\s*{label}")))
        .locator(".stat-value")
    )


def wait_until(page: Page, path: str, shows: Callable[[Page], bool]) -> Page:
    """Load a page anew until it shows something: calls are counted about a second after they end."""
    until = time.monotonic() + COUNTED_WITHIN_SECONDS
    while time.monotonic() < until:
        page.goto(path)
        if shows(page):
            return page
        page.wait_for_timeout(500)
    raise AssertionError(f"{path} does not show it: {page.locator('main').inner_text()[:2000]}")


def counted(visitor: Visitor, requests: int) -> Page:
    """Wait until the overview has counted so many requests."""

    def shows(page: Page) -> bool:
        value = figure(page, "Requests")
        return value.count() == 1 and value.inner_text() == str(requests)

    return wait_until(visitor.page, "/dashboard", shows)


@dataclass(frozen=True)
class Settled:
    """Somebody whose team is in use, for tests that look on: their session, address and key."""

    state: Any
    email: str
    api_key: str


@cache
def _settled(site: Site) -> dict[bool, Settled]:
    return {}


def settle(visit: Callable[..., Visitor], site: Site, *, is_in_use: bool = True) -> Settled:
    """Return who lives on a site already, with 12 calls of which 8 are hits, or none; signs them up the first time."""
    known = _settled(site)
    if is_in_use not in known:
        ada = visit(site).sign_up()
        api_key = ""
        if is_in_use:
            api_key = new_key(ada, "Production")
            for number in range(12):
                answer = site.call(api_key, f"Question {number % 4}", **{"X-AgentCache-Agent": f"agent-{number % 3}"})
                assert answer.status_code == 200
            counted(ada, 12)
        known[is_in_use] = Settled(ada.page.context.storage_state(), ada.email, api_key)
        ada.close()
    return known[is_in_use]


def resume(visit: Callable[..., Visitor], site: Site, *, is_in_use: bool = True, **options: Any) -> Visitor:
    """Open a window of who lives on a site already."""
    settled = settle(visit, site, is_in_use=is_in_use)
    visitor = visit(site, "ada", storage_state=settled.state, **options)
    visitor.email = settled.email
    return visitor


def notices(page: Page, text: str) -> None:
    """See what the page says after something was done."""
    expect(page.locator(".toast")).to_contain_text(text)
