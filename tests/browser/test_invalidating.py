"""Invalidating on a page: say what, look at what it would meet, confirm, see what it met; with pictures of each step."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.browser.people import new_key
from tests.support.browser.team_member import figure


def test_answers_are_invalidated_after_a_look(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    api_key = new_key(ada)
    source = "https://shop.example.com/prices"
    for prompt in ("What does the red one cost?", "What does the blue one cost?"):
        given = {"X-AgentCache-Tags": "prices,shop", "X-AgentCache-Sources": source}
        assert sqlite_site.call(api_key, prompt, **given).status_code == 200
    assert sqlite_site.call(api_key, "Who wrote Emma?").status_code == 200
    page = ada.open("/dashboard/cache")
    page.get_by_role("link", name="Invalidate").click()
    inspect(page, "invalidate-form")
    ada.press("Show what it would meet")
    expect(page.get_by_role("alert").first).to_contain_text("at least one criterion")
    page.get_by_label("Source").fill("HTTPS://Shop.example.com:443/prices#red")
    page.get_by_label("Reason").fill("New price list")
    page.get_by_label("Mark them stale").check()
    ada.press("Show what it would meet")
    expect(figure(page, "Entries")).to_have_text("2")
    inspect(page, "invalidate-preview")
    ada.press("Mark 2 entries stale")
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 entries marked stale")
    inspect(page, "invalidate-result")
    assert "; hit" not in sqlite_site.call(api_key, "What does the red one cost?").headers["cache-status"]
    assert "; hit" in sqlite_site.call(api_key, "Who wrote Emma?").headers["cache-status"]
    page.get_by_role("link", name="All entries").click()
    page.locator("tbody tr", has_text="expired").first.get_by_role("link").click()
    expect(page.locator(".facts", has_text="Sources")).to_contain_text("New price list")
    inspect(page, "invalidate-entry")
    page.get_by_role("link", name="What else has it?").first.click()
    expect(figure(page, "Entries")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    inspect(page, "invalidate-past")
