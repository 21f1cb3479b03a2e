"""Webhooks as people set them up: an endpoint, a test that is watched, a day of failures sent again as a job."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from standardwebhooks import Webhook

from tests.support.browser.team_member import notices
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


def test_an_endpoint_is_added_tried_and_sent_a_range_again(visit, sqlite_site, inspect, receiver):
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard/webhooks")
    inspect(page, "webhooks-empty")
    page.get_by_role("link", name="Add an endpoint").first.click()
    page.get_by_label("URL").fill("https://127.0.0.2/in")
    page.get_by_label("cache.invalidated").check()
    ada.press("Add endpoint")
    expect(page.locator(".field-error").first).to_contain_text("public addresses only")
    inspect(page, "webhooks-new-wrong")
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_label("Description").fill("The shop's own receiver")
    page.get_by_label("cache.hit").check()
    ada.press("Add endpoint")
    expect(page.locator("main")).to_contain_text("shown this once")
    inspect(page, "webhooks-secret")
    secret = page.locator("main pre").first.inner_text().strip()
    page.get_by_role("link", name="I have copied it").click()
    here = page.url
    assert secret not in page.content()

    # What came back is shown without loading the page anew, however it went.
    receiver.answers = [500]
    page.get_by_label("Type").first.select_option("cache.invalidated")
    ada.press("Send a test")
    expect(page.locator("#tries")).to_contain_text("answer 500", timeout=60_000)
    inspect(page, "webhooks-delivery")
    [delivery] = receiver.deliveries
    assert Webhook(secret).verify(delivery.body, delivery.headers)["type"] == "cache.invalidated"

    page.goto(here)
    inspect(page, "webhooks-endpoint")
    page.locator("form.form", has_text="Those that").get_by_role("button", name="Send again").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("again")
    expect(page.locator("#job")).to_contain_text("Done", timeout=60_000)
    expect(page.locator("#job")).to_contain_text("1 of 1")
    inspect(page, "jobs-one")
    page.goto("/dashboard/jobs")
    inspect(page, "jobs-list")
    page.goto(here)
    page.locator("tbody a").first.click()
    expect(page.locator("#tries")).to_contain_text("answer 200", timeout=60_000)
    assert [delivery.headers["webhook-id"] for delivery in receiver.deliveries].count(
        receiver.deliveries[0].headers["webhook-id"]
    ) == 2

    page.goto("/dashboard/webhooks")
    expect(page.locator("tbody tr")).to_contain_text("The shop's own receiver")
    inspect(page, "webhooks-list")
    page.goto(f"{here}/delete")
    ada.press("Delete the endpoint")
    notices(page, "is deleted")
    page.goto("/dashboard/webhooks/event-types")
    inspect(page, "webhooks-event-types")
    assert re.search(r"quota\.threshold", page.content())
