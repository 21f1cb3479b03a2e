"""The same pages in the dark, by keyboard alone, and without scripts."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.support.browser.team_member import create_key, notices, resume, settle, wait_until
from tests.support.browser.visitor import Visitor

#: What has the focus: its words, and whether that can be seen.
_FOCUS = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return {words: "", isVisible: false};
  const box = one.getBoundingClientRect();
  const style = getComputedStyle(one);
  const label = one.labels?.[0];
  const ring = [one, label].some((two) => two && parseFloat(getComputedStyle(two).outlineWidth) >= 2 && getComputedStyle(two).outlineStyle !== "none");
  const spot = label && one.classList.contains("sr-only") ? label.getBoundingClientRect() : box;
  const isInside = spot.bottom > 0 && spot.top < innerHeight && spot.right > 0 && spot.left < innerWidth;
  return {
    words: (one.getAttribute("aria-label") ?? one.innerText ?? "").trim() || one.name || one.tagName,
    isVisible: ring && isInside && style.visibility === "visible",
  };
}"""


def press_tab(page: Page) -> str:
    """Go to the next thing and return its words. It has to exist and to show that it has the focus."""
    page.keyboard.press("Tab")
    focus = page.evaluate(_FOCUS)
    assert focus["isVisible"], f"the focus is not to be seen on {focus['words']!r} of {page.url}"
    return str(focus["words"])


def tab_to(page: Page, words: str, most: int = 60) -> None:
    """Press Tab until what has the focus has some words."""
    passed = []
    for _ in range(most):
        passed.append(press_tab(page))
        if words in passed[-1]:
            return
    raise AssertionError(f"{words!r} is not among {passed} of {page.url}")


def is_dark(page: Page) -> bool:
    """Whether the ground of a page is dark."""
    colour = page.locator(".sidebar, .narrow-card").first.evaluate("one => getComputedStyle(one).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) < 200


def test_the_dark_follows_the_system_and_the_account(visit, sqlite_site):
    stranger = visit(sqlite_site, "eve", color_scheme="dark")
    assert is_dark(stranger.open("/login"))
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard")
    assert not is_dark(page)
    page.emulate_media(color_scheme="dark")
    assert is_dark(page)
    page.emulate_media(color_scheme="light")

    page.locator(".sidebar .account-menu summary").click()
    with page.expect_response("**/preferences"):
        page.locator(".sidebar").get_by_role("button", name="Dark").click()
    assert is_dark(page), "at once"
    drawn = ada.page.goto("/dashboard/keys")
    # The server says so itself, and styles come before anything is drawn: there is no moment of light.
    text = drawn.text()
    assert re.search(r"<html[^>]*data-theme=\"dark\"", text)
    assert '<meta name="color-scheme" content="dark">' in text
    head = text[: text.index("</head>")]
    assert head.count('rel="stylesheet"') >= 4
    assert "async" not in head
    assert is_dark(page)
    page.reload()
    assert is_dark(page)

    elsewhere = visit(sqlite_site, "elsewhere")
    elsewhere.email = ada.email
    elsewhere.sign_in()
    assert is_dark(elsewhere.open("/dashboard")), "in another browser of the same user"
    elsewhere.page.goto("/settings/appearance")
    elsewhere.page.get_by_role("radio", name="Light").check()
    elsewhere.press("Save")
    page.reload()
    assert not is_dark(page)
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert not is_dark(page), "the account's choice goes before the system's"


def sign_in_by_keyboard(ada: Visitor) -> None:
    page = ada.open("/login")
    if page.evaluate("document.activeElement?.name") != "email":
        tab_to(page, "email")
    page.keyboard.type(ada.email)
    tab_to(page, "password")
    page.keyboard.type(ada.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard")


def test_a_whole_journey_by_keyboard(visit, site):
    ada = visit(site).sign_up()
    page = ada.page
    page.context.clear_cookies()
    sign_in_by_keyboard(ada)

    page.goto("/dashboard/cache")
    press_tab(page)
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#content", "the way past the side bar"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "label", "/ leads to the search"
    page.keyboard.type("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    # What was typed is looked for by itself, which must not come in between.
    page.wait_for_url("**/dashboard/cache?label=*")
    page.goto("/dashboard/cache")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    tab_to(page, ada.email)
    page.keyboard.press("Enter")
    tab_to(page, "Your settings")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY", "a menu hands the focus back"

    page.keyboard.press("g")
    page.keyboard.press("k")
    page.wait_for_url("**/dashboard/keys")
    tab_to(page, "Create a key")
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/new")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.type("Typed")
    tab_to(page, "Create key")
    page.keyboard.press("Enter")
    expect(page.locator("main pre").first).to_contain_text("ac_live_")
    tab_to(page, "I have copied it")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/dashboard/keys/\w{32}$"))

    tab_to(page, "Revoke Typed")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Revoke Typed?")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.activeElement.innerText") == "Cancel", "the harmless answer comes first"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.innerText").startswith("Revoke Typed"), "the focus is back"
    page.keyboard.press("Enter")
    tab_to(page, "Revoke Typed", most=3)
    page.keyboard.press("Enter")
    notices(page, "Typed is revoked")


def test_single_keys_can_be_turned_off(visit, sqlite_site):
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard/keys")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_role("button", name="Turn single keys off").click()
    page.wait_for_load_state()
    for key in ("?", "g", "o"):
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url.endswith("/dashboard/keys")


def test_every_page_and_form_works_without_scripts(visit, site):
    ada = visit(site, java_script_enabled=False).sign_up_on_pages()
    page = ada.open("/dashboard")
    expect(page.locator("noscript, main").first).to_be_attached()
    api_key = create_key(ada)
    assert page.locator("button[type=button]:visible").count() == 0, "a button that does nothing"
    for _ in range(3):
        assert ada.site.call(api_key, "Which port does SSH use?").status_code == 200
    wait_until(page, "/dashboard/requests", lambda page: page.locator("tbody tr").count() == 3)
    for name in ("", "/analytics/cost", "/analytics/latency", "/analytics/tokens", "/analytics/freshness"):
        path = f"/dashboard{name}"
        ada.open(path)
        expect(page.locator("figure.chart table tbody tr").first).to_be_visible()
        assert page.locator("button[type=button]:visible").count() == 0, path
    page.locator("select[name=period]").select_option("7d")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**period=7d**")
    page.locator("details.menu summary", has_text="Dates").click()
    page.locator("[name=start]").fill("2026-01-05")
    page.locator("[name=end]").fill("2026-01-09")
    page.get_by_role("button", name="Show these dates").click()
    page.wait_for_url("**start=2026-01-05**")
    expect(page.locator("select[name=period]")).to_have_value("custom")
    page.locator(".breakdown label", has_text="API key").click()
    expect(page.locator(".breakdown th", has_text="API key")).to_be_visible()

    ada.open("/dashboard/requests")
    page.get_by_label("Outcome").select_option(label="Miss")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    ada.open("/dashboard/cache")
    page.locator("tbody a").first.click()
    page.get_by_role("link", name="Delete this entry").click()
    page.get_by_role("button", name="Delete the entry").click()
    notices(page, "The entry was deleted")

    ada.open("/dashboard/billing/limit")
    ada.fill(requests_per_month="500")
    ada.press("Save")
    notices(page, "The limit is kept")
    ada.open("/settings/appearance")
    page.get_by_role("radio", name="Dark").check()
    ada.press("Save")
    assert is_dark(page)
    page.locator(".sidebar .account-menu summary").click()
    with page.expect_navigation():
        page.locator(".sidebar").get_by_role("button", name="Light").click()
    assert not is_dark(page)
    ada.open("/dashboard/keys")
    page.locator("tbody a").first.click()
    page.locator(".snippets label", has_text="Python").click()
    expect(page.locator(".snippets pre", has_text="from openai import OpenAI")).to_be_visible()
    page.get_by_role("link", name="Revoke Production").click()
    page.get_by_role("button", name="Revoke Production").click()
    notices(page, "Production is revoked")
    page.locator(".sidebar .account-menu summary").click()
    page.get_by_role("button", name="Sign out").first.click()
    page.goto("/dashboard")
    assert "/login" in page.url


def test_a_choice_of_filter_keeps_the_focus(visit, sqlite_site):
    ada = resume(visit, sqlite_site)
    settle(visit, sqlite_site)
    page = ada.open("/dashboard/analytics/cost")
    page.get_by_label("Compare with the period before").focus()
    page.keyboard.press("Space")
    page.wait_for_url("**compare=1**")
    expect(page.get_by_label("Compare with the period before")).to_be_focused()
    expect(page.locator(".legend")).to_contain_text("the period before")
