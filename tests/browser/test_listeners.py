"""A source is watched, changes, and the next caller gets a fresh answer: on the pages, with a real web server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser.changing_page import ChangingPage
from tests.support.browser.people import new_key
from tests.support.browser.team_member import notices

PRICES = """<!doctype html><html><head><title>Prices</title></head><body><nav><a href="/">Home</a></nav>
<main><h1>Prices</h1><p>All plans can be ended at the end of any month, in writing or by mail.</p>
<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Starter</td><td>$9</td></tr><tr><td>Pro</td><td>{price}</td></tr>
<tr><td>Enterprise</td><td>Ask us</td></tr></table></main><footer>Made at {price}</footer></body></html>"""


@pytest.fixture
def pricing():
    with ChangingPage(PRICES.format(price="$20")) as pricing:
        yield pricing


def is_hit(answer):
    assert answer.status_code == 200, answer.text
    return "; hit" in answer.headers["Cache-Status"]


def test_a_source_is_watched_and_its_change_removes_the_answers_made_of_it(visit, sqlite_site, inspect, pricing):
    ada = visit(sqlite_site).sign_up()
    api_key = new_key(ada)
    page = ada.open("/dashboard/listeners")
    inspect(page, "listeners-empty")
    ada.press("Watch a source")
    ada.fill(url="not a URL")
    page.locator("[name=url]").evaluate("one => one.type = 'text'")
    ada.press("Watch it")
    expect(page.locator(".field-error").first).to_contain_text("no absolute https URL")
    inspect(page, "listeners-new-wrong")
    ada.open("/dashboard/listeners/new")
    inspect(page, "listeners-new")
    ada.fill(url=pricing.url, tags="pricing")
    ada.press("Watch it")
    # The page renews itself until the worker has read the source.
    expect(page.locator(".timeline")).to_contain_text("First reading", timeout=60_000)
    here = page.url

    def ask():
        question = {"X-AgentCache-Sources": pricing.url, "X-AgentCache-Namespace": "shop"}
        return is_hit(sqlite_site.call(api_key, "What does Pro cost?", **question))

    assert [ask(), ask()] == [False, True]
    pricing.html = PRICES.format(price="$25")
    ada.press("Check now")
    expect(page.locator(".diff-added")).to_contain_text("$25", timeout=60_000)
    expect(page.locator(".diff-removed")).to_contain_text("$20")
    expect(page.locator(".timeline")).to_contain_text("1 answer was removed")
    inspect(page, "listener-changed")
    assert [ask(), ask()] == [False, True], "the next caller gets a fresh answer, and only they have to wait"

    ada.open(here)
    ada.press("Pause")
    notices(page, "is paused")
    expect(page.get_by_role("button", name=re.compile("Check now"))).to_have_count(0)
    ada.press("Resume")
    notices(page, "is resumed")
    page = ada.open("/dashboard/listeners")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Watching")
    inspect(page, "listeners-used")
    page.locator("tbody a").first.click()
    page.locator("a", has_text="Change").last.click()
    ada.fill(selector="table")
    ada.press("Save")
    notices(page, "was changed")
    page.locator(".danger-zone [data-dialog]").click()
    inspect(page, "listener-delete")
    page.get_by_role("button", name="Delete the listener").click()
    notices(page, "watched no longer")
    expect(page.locator("main")).to_contain_text("Nothing is watched yet")
