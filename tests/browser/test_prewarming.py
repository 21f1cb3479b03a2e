"""Prewarming as people do it: a credential, a dry run, the batch itself, and its answers at hand."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.browser.team_member import notices
from tests.support.prewarming_requests import chat, lines


def test_a_credential_is_kept_and_a_batch_is_run(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard/prewarm")
    inspect(page, "prewarm-empty")
    page.get_by_role("link", name="Keep a credential").first.click()
    page.get_by_label("Provider").select_option("openai")
    page.get_by_label("Credential").fill("invalid-credential")
    ada.press("Test and keep")
    expect(page.locator(".field-error").first).to_contain_text("refuses this credential")
    inspect(page, "credentials-new-wrong")
    page.get_by_label("Credential").fill("sk-of-the-team-8Qz4")
    ada.press("Test and keep")
    notices(page, "is kept")
    inspect(page, "credentials-list")
    page.goto("/dashboard/credentials/openai/delete")
    inspect(page, "credentials-delete")

    page.goto("/dashboard/prewarm/new")
    page.get_by_label("Requests, one JSON object a line").fill("{nope}")
    ada.press("Dry run")
    expect(page.locator("main")).to_contain_text("Line 1 cannot be read")
    inspect(page, "prewarm-new-wrong")
    page.get_by_label("Title").fill("Opening hours")
    requests = [chat(f"Question {number}") for number in range(3)]
    page.get_by_label("Requests, one JSON object a line").fill(lines(*requests).decode())
    page.get_by_label("Cost at most, USD").fill("1.00")
    ada.press("Dry run")
    # It is done without loading the page anew.
    expect(page.locator("#batch")).to_contain_text("Done", timeout=60_000)
    inspect(page, "prewarm-dry-run")
    page.get_by_role("button", name="Prewarm 3 requests").click()
    expect(page.locator("#batch .stats")).to_contain_text("Warmed", timeout=60_000)
    expect(page.locator("#batch .facts")).not_to_contain_text("not yet", timeout=60_000)
    inspect(page, "prewarm-batch")
    page.get_by_role("link", name="Progress, log").click()
    inspect(page, "prewarm-job")
    page.goto("/dashboard/prewarm")
    ada.press("Keep requests")
    notices(page, "are kept from now on")
    inspect(page, "prewarm-list")

    page.get_by_role("link", name="Schedules").click()
    inspect(page, "schedules-empty")
    page.get_by_role("link", name="New schedule").first.click()
    page.get_by_label("Title").fill("Keep the top 100 fresh")
    page.get_by_label("When").fill("every day")
    page.get_by_label("Which requests").select_option("top")
    ada.press("Schedule")
    expect(page.locator(".field-error").first).to_contain_text("five fields of cron")
    inspect(page, "schedules-new-wrong")
    page.get_by_label("When").fill("0 5 * * 1-5")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    ada.press("Schedule")
    notices(page, "is scheduled")
    inspect(page, "schedules-list")
    page.get_by_role("link", name="Delete…").click()
    inspect(page, "schedules-delete")
