"""Accounts, walked in a browser: in by a mailed link, out again, a new password, a second factor."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from tests.support.accounts_totp import totp

PUBLIC = ("/signup", "/login", "/resend", "/forgot", "/verify?token=x", "/verify", "/reset?token=x", "/reset")
OWN = (
    "/settings/profile", "/settings/profile/email", "/settings/security", "/settings/security/password",
    "/settings/security/app", "/settings/passkeys", "/settings/passkeys/new", "/settings/sessions",
    "/settings/appearance", "/settings/danger", "/reauthenticate",
)  # fmt: skip


def _name(path: str) -> str:
    return "account-" + re.sub(r"\W+", "-", path).strip("-")


def test_a_stranger_signs_up_and_out(visit, site):
    ada = visit(site).sign_up_on_pages()
    ada.open("/settings/sessions")
    expect(ada.page.get_by_text("This device")).to_be_visible()
    ada.page.evaluate("fetch('/logout', {method: 'POST'})")
    ada.page.goto("/settings/profile")
    assert ada.page.url.endswith("/login?next=%2Fsettings%2Fprofile")
    ada.sign_in()
    assert ada.page.url == f"{site.url}/settings/profile"


def test_a_stranger_who_began_a_registration_does_not_get_in(visit, site, inspect):
    eve = visit(site, "eve")
    eve.register()
    ada = visit(site)
    ada.email = eve.email
    page = ada.open(site.mail(ada.email, "confirm").link)
    inspect(page, "account-verify-new")
    ada.password = "a password that only the owner knows"
    ada.fill(password="too short")
    ada.press("Open account")
    expect(page.locator(".field-error")).to_contain_text("15 characters")
    ada.fill(password=ada.password)
    ada.press("Open account")
    ada.sign_in()
    eve.open("/login")
    eve.fill(email=eve.email, password=eve.password)
    eve.press("Sign in")
    expect(eve.page.locator(".form-errors, [role=alert]").first).to_be_visible()


def test_a_forgotten_password_is_replaced_by_mail(visit, site):
    ada = visit(site).sign_up()
    bob = visit(site, "bob")
    bob.email = ada.email
    bob.open("/forgot")
    bob.fill(email=ada.email)
    bob.press("Mail me a link")
    expect(bob.page.get_by_role("heading", level=1)).to_have_text("Check your mail")
    bob.open(site.mail(ada.email, "password").link)
    bob.password = "another horse battery staple"
    bob.fill(password=bob.password)
    bob.press("Set password")
    bob.sign_in()
    ada.page.goto("/settings/profile")
    assert "/login" in ada.page.url, "the session from before the reset goes on"


def test_known_and_unknown_addresses_get_the_same_page(visit, sqlite_site):
    ada = visit(sqlite_site).sign_up()
    pages = []
    for email in (ada.email, f"nobody-{ada.email}"):
        stranger = visit(sqlite_site, "eve")
        for path in ("/signup", "/forgot", "/resend"):
            stranger.page.context.clear_cookies()
            stranger.open(path)
            stranger.fill(email=email)
            stranger.page.locator("main form:has([name=email]) button[type=submit]").first.click()
            stranger.page.wait_for_load_state()
            pages.append((path, stranger.page.locator("main").inner_text().replace(email, "…")))
    assert pages[:3] == pages[3:]


def test_an_authenticator_app_is_set_up_and_asked_for(visit, site):
    ada = visit(site).sign_up()
    ada.open("/settings/security/app")
    secret = ada.page.locator("code.secret-text").inner_text().replace(" ", "")
    ada.fill(code=totp(secret))
    ada.press("Turn on")
    codes = ada.page.locator("ol.codes code").all_inner_texts()
    assert len(codes) == len(set(codes)) >= 8
    again = visit(site, "again")
    again.email = ada.email
    again.open("/login")
    again.fill(email=again.email, password=again.password)
    again.page.locator("main form:has([name=password]) button[type=submit]").click()
    again.page.wait_for_url("**/login/mfa*")
    again.fill(code="000000")
    again.press("Go on")
    expect(again.page.locator("[aria-invalid=true], .form-errors, [role=alert]").first).to_be_visible()
    again.fill(code=codes[0])
    again.page.get_by_label("Keep me signed in on this device").check()
    again.press("Go on")
    again.page.wait_for_url(lambda url: "/login" not in url)
    again.open("/settings/sessions")
    expect(again.page.locator("tr", has_text="This device")).to_contain_text("Kept signed in")
    [cookie] = [cookie for cookie in again.page.context.cookies() if cookie["name"] == "agentcache_session"]
    assert 6 * 86400 < cookie["expires"] - time.time() < 8 * 86400


def test_account_pages_are_usable_by_everybody_and_fit(visit, sqlite_site, inspect):
    stranger = visit(sqlite_site, "eve")
    for path in PUBLIC:
        inspect(stranger.open(path), _name(path))
    ada = visit(sqlite_site).sign_up()
    for path in OWN:
        inspect(ada.open(path), _name(path))


def test_signing_in_leads_nowhere_else(visit, sqlite_site):
    ada = visit(sqlite_site).sign_up()
    for target in ("//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"):
        ada.page.context.clear_cookies()
        ada.page.goto("/login?next=" + target.replace("\\", "%5C"))
        ada.sign_in()
        assert ada.page.url.startswith(sqlite_site.url), target
