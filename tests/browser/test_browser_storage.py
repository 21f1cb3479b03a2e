"""E5: what stays in a browser: no secret, no page, and after signing out nothing at all."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.support.browser.people import new_key
from tests.support.reliability import record

#: Whatever scripts of a page can keep.
STORES = """async () => ({
  local: { ...localStorage }, session: { ...sessionStorage },
  databases: (await indexedDB.databases()).map((one) => one.name),
  caches: await caches.keys(), cookies: document.cookie, workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""
PAGES = ("/dashboard", "/dashboard/keys", "/dashboard/requests", "/dashboard/cache", "/dashboard/team/members", "/dashboard/audit",
         "/settings/profile", "/settings/security", "/settings/sessions", "/settings/export")  # fmt: skip


def secrets_in(stores, secrets):
    kept = json.dumps(stores)
    return [secret for secret in secrets if secret in kept]


def test_nothing_secret_stays(visit, sqlite_site):
    """E5: passwords, codes, keys, session ids: in none of the stores, also when a form could not be sent."""
    ada = visit(sqlite_site).sign_up_on_pages()
    page = ada.page
    cookies = {one["name"]: one for one in page.context.cookies()}
    secrets = [ada.password, new_key(ada, "Made by a program"), *(one["value"] for one in cookies.values())]
    assert "agentcache_session" in cookies
    for cookie in cookies.values():
        assert cookie["httpOnly"], cookie["name"]
        assert cookie["sameSite"] == "Lax", cookie["name"]
        assert cookie["path"] == "/", cookie["name"]
        assert cookie["domain"] == "127.0.0.1", "not for hosts below"

    # A key, shown this once.
    ada.open("/dashboard/keys/new")
    ada.fill(name="Shown once")
    ada.page.locator("main form:has([name=name]) button.primary").click()
    shown = page.locator("main").get_by_text(re.compile("ac_live_")).first
    expect(shown).to_be_visible()
    secrets.append(re.search(r"ac_live_\w+", page.content())[0])

    # Forms with secrets in them that fail to be sent: what is kept of them is not the secret.
    ada.open("/settings/security/password")
    new = "a new password that is long enough"
    secrets.append(new)
    for name in ("current_password", "new_password", "password"):
        if page.locator(f"[name={name}]").count():
            page.locator(f"[name={name}]").first.fill(new)
    page.route("**/settings/security/password", lambda route: route.fulfill(status=500, body="no"))
    with ada.expecting("answer: 500"), page.expect_navigation():
        page.locator(
            "main form:has([type=password]) button[type=submit], main form:has([type=password]) button.primary"
        ).first.click()
    page.unroute_all()
    for path in PAGES[:-1]:
        ada.open(path)
        stores = page.evaluate(STORES)
        assert secrets_in(stores, secrets) == [], path
        assert stores["local"] == {} and stores["databases"] == [] and stores["caches"] == [] and stores["workers"] == 0
        assert stores["cookies"] == "", "scripts can read a cookie"
        assert set(stores["session"]) <= {"htmx-current-path-for-history"}, path
    for path in PAGES:
        assert page.context.request.get(path).headers["cache-control"] == "no-store", path
    record("E5 storage", pages=len(PAGES), secrets=len(secrets), kept=0)


def test_nobody_comes_back_after_signing_out(visit, sqlite_site):
    """E5: on a shared computer: "back" asks to sign in, what was written is gone, the old cookie opens nothing."""
    ada = visit(sqlite_site).sign_up()
    page = ada.page
    before = page.context.cookies()
    ada.open("/settings/profile")
    ada.open("/dashboard/team/new")
    ada.fill(name="Half a form")
    page.evaluate("sessionStorage.setItem('agentcache.draft', '{}')")
    page.locator("details.account-menu summary").last.click()
    with page.expect_response("**/logout") as left:
        page.locator("form[action='/logout'] button").last.click()
    page.wait_for_url("**/login")
    assert left.value.all_headers()["clear-site-data"] == '"cache", "storage"'
    stores = page.evaluate(STORES)
    assert (stores["local"], stores["session"], stores["databases"], stores["caches"]) == ({}, {}, [], [])
    for _ in range(2):
        page.go_back()
        page.wait_for_url("**/login?next=*")
        expect(page.locator("[name=password]")).to_be_visible()
        assert ada.email not in page.content()
    page.go_forward()
    page.wait_for_url("**/login*")
    page.context.add_cookies(before)
    page.goto("/settings/profile")
    assert "/login" in page.url, "the session goes on"
    record("E5 shared computer", shown_after_signing_out=0)
