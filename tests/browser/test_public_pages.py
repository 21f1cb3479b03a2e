"""The public pages in a browser: whole at both widths, light and dark, usable by everybody, also without scripts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser.control_plane import control_plane
from tests.support.browser.people import new_key
from tests.support.browser.team_member import wait_until
from tests.support.browser.visitor import Visitor

PAGES = (
    "/", "/pricing", "/status", "/security", "/changelog", "/docs", "/docs/how-to/limits", "/docs/reference/settings",
    "/docs/examples/streaming.py", "/nothing",
)  # fmt: skip


def _name(path: str) -> str:
    return "public-" + (re.sub(r"\W+", "-", path).strip("-") or "start")


@pytest.fixture(scope="module")
def _stranger(_turns, _browser, sqlite_site):
    with _turns.taken():
        stranger = Visitor.of(_browser, sqlite_site)
    yield stranger
    with _turns.taken():
        stranger.close()


@pytest.fixture
def stranger(browser, _stranger):
    """One window for all pages: to open one takes longer than to look at a page."""
    with _stranger.answering() as stranger:
        yield stranger


@pytest.mark.parametrize("path", PAGES)
def test_a_page_looks_right_and_everybody_can_use_it(stranger, inspect, path):
    stranger.page.goto(path)
    inspect(stranger.page, _name(path))


def test_the_api_reference_keeps_to_our_frame(visit, sqlite_site, fits):
    stranger = visit(sqlite_site)
    page = stranger.open("/api/docs")
    # The scripts of the page are large, and the document grows with each route.
    expect(page.locator(".opblock-summary-path", has_text="cache").first).to_be_visible(timeout=60_000)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html.dark-mode")).to_have_count(1)
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html.dark-mode")).to_have_count(0)


def test_figures_appear_on_the_start_page_once_there_are_some(visit, site, inspect):
    ada = visit(site).sign_up()
    key = new_key(ada)
    for _ in range(3):
        assert site.call(key, "Which port?").status_code == 200
    page = ada.page
    figures = page.locator("section[aria-labelledby=live] .stat-value")
    wait_until(page, "/", lambda _: figures.count() > 0)
    expect(figures).to_have_count(4)
    expect(page.get_by_text("Method: the sums of all teams")).to_be_visible()
    inspect(page, "public-start-live")
    expect(page.get_by_role("link", name="Open the dashboard").first).to_be_visible()


def test_copying_from_the_start_page_is_announced_and_keeps_the_focus(visit, sqlite_site):
    stranger = visit(sqlite_site)
    stranger.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = stranger.open("/")
    page.get_by_text("Anthropic, Python").click()
    button = page.get_by_role("button", name="Copy Anthropic, Python")
    button.click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    expect(button).to_be_focused()
    assert "/anthropic" in page.evaluate("navigator.clipboard.readText()")


def test_without_scripts_nothing_is_missing(visit, sqlite_site):
    stranger = visit(sqlite_site, java_script_enabled=False)
    page = stranger.open("/")
    page.get_by_text("curl", exact=True).click()
    expect(page.get_by_text("Cache-Status: AgentCache; hit")).to_be_visible()
    page.get_by_role("link", name="Pricing").first.click()
    page.get_by_text("When does the month begin?").click()
    expect(page.get_by_text("On the first, at 00:00 UTC.")).to_be_visible()
    stranger.open("/docs/how-to/limits")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Back up and restore")


def test_the_status_is_that_of_the_server(visit, sqlite_site):
    page = visit(sqlite_site).open("/status")
    for part in ("Gateway", "Cache store", "Records"):
        row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=part))
        expect(row.get_by_text("Works", exact=True)).to_be_visible()


def test_the_manual_can_be_walked_by_keyboard_on_a_small_screen(visit, sqlite_site):
    stranger = visit(sqlite_site, viewport={"width": 390, "height": 844})
    page = stranger.open("/docs/how-to/limits")
    page.get_by_text("All pages").focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("navigation", name="Manual, folded").get_by_role("link", name="Glossary")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Glossary")


@pytest.fixture(scope="module")
def own_machine(tmp_path_factory):
    """Pages without a proxy in front: what is for the machine they run on only is there."""
    with control_plane(tmp_path_factory.mktemp("own"), AGENTCACHE_TRUSTED_PROXIES="0") as site:
        yield site


def test_the_gallery_shows_components_that_work(visit, own_machine, inspect):
    page = visit(own_machine).open("/dev/design")
    inspect(page, "design-gallery")
    page.get_by_role("link", name="Open a dialog").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_text("Menu", exact=True).click()
    expect(page.get_by_role("link", name="Rename").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Rename").first).to_be_hidden()
    assert page.locator("#sample-bars svg").count()


def test_on_its_own_machine_the_start_page_leads_to_the_mails(visit, own_machine, fits):
    page = visit(own_machine).open("/")
    fits(page, "public-start-own-machine")
    page.get_by_role("link", name="Mails").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Mails")


def test_the_steps_of_getting_started_are_put_away_and_brought_back(visit, site, inspect):
    page = visit(site).sign_up().open("/dashboard")
    steps = page.get_by_role("region", name="Get started")
    expect(steps.get_by_text("1 of 7 done")).to_be_visible()
    inspect(page, "getting-started")
    steps.get_by_role("button", name="Put away").click()
    expect(steps).to_have_count(0)
    page.get_by_role("button", name="Show the steps of getting started").click()
    expect(steps).to_be_visible()


def test_the_changelog_reads_from_the_top_to_the_bottom(visit, sqlite_site):
    page = visit(sqlite_site).open("/changelog")
    boxes = [one.bounding_box() for one in page.locator("article").locator("h1, h2, h3").all()]
    tops = [box["y"] for box in boxes if box is not None]
    assert tops == sorted(tops)
    assert len({box["x"] for box in boxes if box is not None}) == 1
