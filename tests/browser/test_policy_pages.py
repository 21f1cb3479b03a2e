"""Policies walked as an admin would: a preset, what it would have done, the next answer, and back again."""

from __future__ import annotations

import time

from playwright.sync_api import expect

from tests.support.browser.people import new_key
from tests.support.browser.team_member import counted, notices

#: A change is in force for every worker within this time.
_IN_FORCE_WITHIN_SECONDS = 15.0


def names_policy(site, api_key, name):
    """Ask new questions until an answer names the policy; how long that takes is bounded, and nothing is measured."""
    until = time.monotonic() + _IN_FORCE_WITHIN_SECONDS
    number = 0
    while time.monotonic() < until:
        number += 1
        answer = site.call(api_key, f"Is this the news, for the {number}th time?")
        if answer.headers.get("x-agentcache-policy") == name:
            return True
        time.sleep(0.3)
    return False


def test_a_preset_is_tried_kept_followed_and_taken_back(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    api_key = new_key(ada)
    for number in range(6):
        assert sqlite_site.call(api_key, f"Question {number % 3}").status_code == 200
    counted(ada, 6)
    page = ada.open("/dashboard/policies")
    page.get_by_role("link", name="Use the preset News").click()
    expect(page.get_by_label("Lifetime")).to_have_value("1h")
    ada.fill(models="gpt-*", source_hosts="https://nowhere")
    ada.press("Save")
    expect(page.locator(".field-error")).to_contain_text("is not a host")
    inspect(page, "wrong-policy")
    ada.fill(source_hosts="")
    ada.press("Dry run")
    expect(page.locator("main")).to_contain_text("50.0 %")
    expect(page.locator("main")).to_contain_text("This one")
    inspect(page, "policy-dry-run")
    ada.press("Save")
    notices(page, "The policy is kept")
    assert names_policy(sqlite_site, api_key, "News")
    ada.open("/dashboard/policies/new")
    ada.fill(name="Never keep passwords", prompt="(?i)password")
    page.get_by_label("Use the cache for these requests").uncheck()
    ada.press("Save")
    page.get_by_role("button", name="Move Never keep passwords up").click()
    expect(page.locator("tbody tr").first).to_contain_text("Never keep passwords")
    inspect(page, "policies")
    inspect(ada.open("/dashboard/policies/dry-run"), "policies-dry-run")
    ada.open("/dashboard/policies")
    page.get_by_role("link", name="Change News").click()
    page.get_by_role("link", name="Remove").click()
    inspect(page, "policy-remove")
    page.get_by_role("button", name="Remove News").click()
    notices(page, "News is removed")
    page.get_by_role("link", name="Versions").click()
    inspect(page, "policies-versions")
    page.get_by_role("link", name="3", exact=True).click()
    inspect(page, "policies-version")
    page.get_by_role("button", name="Put in force again").click()
    expect(page.locator("table").first).to_contain_text("News")
