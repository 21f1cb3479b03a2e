"""The product walked as its users would: a key, a call, the saving on the page; a colleague; a limit."""

from __future__ import annotations

import re
import subprocess
import sys

import httpx2 as httpx
from playwright.sync_api import expect

from tests.support.browser.site import on_databases
from tests.support.browser.team_member import counted, create_key, figure, notices, resume, settle, wait_until

_TELL_OF_USE = """
from datetime import UTC, datetime
from agentcache.cli.records import open_records
open_records()
from agentcache.quotas.jobs import tell_of_use
tell_of_use(datetime.now(UTC))
"""


@on_databases
def test_a_key_a_call_and_the_saving_on_the_page(visit, site):
    ada = visit(site).sign_up()
    page = ada.open("/dashboard")
    expect(page.get_by_text("Waiting for the first request", exact=False)).to_be_visible()
    api_key = create_key(ada)
    expect(ada.page.locator("main")).to_contain_text("shown this once")
    expect(ada.page.locator("main")).to_contain_text(f"{site.url}/openai/v1")
    ada.press("I have copied it")
    assert api_key not in ada.page.content(), "it was shown once"
    assert f"ac_live_…{api_key[-4:]}" in ada.page.content()

    page = ada.open("/dashboard")
    for _ in range(3):
        assert site.call(api_key, "Which port does HTTPS use?").status_code == 200
    # The page waits for the first request by itself.
    expect(figure(page, "Requests")).to_be_visible(timeout=60_000)
    page = counted(ada, 3)
    expect(figure(page, "Hit rate")).to_have_text("66.7 %")
    assert figure(page, "Net saved").inner_text() not in ("$0.00", "–")
    expect(page.locator("figure.chart svg[role=img]")).to_be_visible()
    page.get_by_text("View as table").click()
    cells = page.locator("figure.chart tbody tr").last.locator("td")
    assert [cells.nth(index).inner_text() for index in range(cells.count())][:2] == ["2", "1"], "hits and misses"
    before = figure(page, "Net saved").inner_text()
    assert site.call(api_key, "Which port does HTTPS use?").status_code == 200
    page = counted(ada, 4)
    assert figure(page, "Net saved").inner_text() != before, "the saving has moved"
    ada.open("/dashboard/analytics/cost")
    with ada.page.expect_download() as download:
        ada.page.locator("figure.chart").get_by_text("Download CSV").click()
    assert "Net saved" in download.value.path().read_text(encoding="utf-8")


@on_databases
def test_an_entry_is_found_looked_at_and_deleted(visit, site):
    ada = visit(site).sign_up()
    api_key = create_key(ada)
    for prompt, tag in (("Which port does SSH use?", "ports"), ("Who wrote Emma?", "books")):
        assert site.call(api_key, prompt, **{"X-AgentCache-Tags": tag}).status_code == 200
    page = ada.open("/dashboard/cache")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Tag").fill("books")
    page.wait_for_url("**tag=books**")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody tr a").click()
    expect(page.locator(".facts", has_text="Tags")).to_contain_text("books")
    ada.press("Show the answer")
    expect(page.locator("#answer pre")).to_contain_text("choices")
    page.get_by_role("link", name="Delete this entry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("is paid again")
    dialog.get_by_role("button", name="Delete the entry").click()
    notices(page, "The entry was deleted")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "fwd=" in site.call(api_key, "Who wrote Emma?").headers["cache-status"]
    assert "; hit" in site.call(api_key, "Which port does SSH use?").headers["cache-status"]


@on_databases
def test_the_list_of_requests_follows_what_happens(visit, site):
    ada = resume(visit, site)
    api_key = settle(visit, site).api_key
    page = wait_until(ada.page, "/dashboard/requests", lambda page: page.locator("tbody tr").count() > 0)
    page.evaluate("window.isSame = true")
    assert site.call(api_key, "What is new under the sun?", **{"X-AgentCache-Agent": "live-tail"}).status_code == 200
    row = page.locator("tbody tr", has_text="live-tail").first
    expect(row).to_be_visible(timeout=60_000)
    expect(row).to_contain_text("Miss")
    assert page.evaluate("window.isSame"), "the page was not loaded anew"
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("link", name="Follow live")).to_be_visible()
    page.get_by_label("Outcome").select_option(label="Exact hit")
    page.wait_for_url("**outcome=exact**")
    expect(page.locator("#results tbody tr", has_text="Miss")).to_have_count(0)
    page.locator("#results tbody a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Exact hit")


@on_databases
def test_a_colleague_is_invited_and_may_what_the_role_may(visit, site):
    ada = visit(site).sign_up()
    bob = visit(site, "bob")
    page = ada.open("/dashboard/team/invites")
    page.get_by_label("E-mail address").fill(bob.email)
    page.get_by_label("Role").select_option(label="Viewer")
    ada.press("Send invitation")
    notices(page, bob.email)
    expect(page.locator("tr", has_text=bob.email)).to_contain_text("Pending")
    link = site.mail(bob.email, "invit").link

    # Somebody else's session at the link is no dead end.
    page = ada.open(link)
    expect(page.locator("main")).to_contain_text(f"This invitation is for {bob.email}")
    expect(page.get_by_role("button", name="Sign out and switch account")).to_be_visible()

    page = bob.open(link)
    bob.fill(password=bob.password)
    bob.press("Make account and join")
    notices(page, "Sign in to open the team")
    bob.sign_in()
    expect(page.locator(".sidebar .team-switcher .team-name").first).to_have_text(re.compile("^ada"))
    expect(page.locator(".sidebar .nav")).not_to_contain_text("Audit log")
    expect(page.locator(".sidebar .nav")).not_to_contain_text("Team settings")
    bob.open("/dashboard/keys")
    expect(page.get_by_role("link", name="Create a key")).to_have_count(0)
    for path in ("/dashboard/keys/new", "/dashboard/audit", "/dashboard/team/settings", "/dashboard/team/invites/new"):
        answer = page.goto(path)
        assert answer.status == 403, path
        expect(page.get_by_role("heading", level=1)).to_have_text("Your role does not allow this")
        expect(page.locator("main")).to_contain_text(ada.email)

    page = ada.open("/dashboard/team")
    expect(page.locator("tr", has_text=bob.email)).to_contain_text("Viewer")
    page.locator("tr", has_text=bob.email).get_by_role("link", name="Change").click()
    page.get_by_label("Role").select_option(label="Member")
    ada.press("Save")
    bob.open("/dashboard/keys/new")

    # A link works once, and a cancelled one says whom to ask.
    bob.page.context.clear_cookies()
    assert bob.page.goto(link).status == 409
    expect(bob.page.locator("main")).to_contain_text("sign in", ignore_case=True)
    carol = visit(site, "carol")
    ada.open("/dashboard/team/invites")
    page.get_by_label("E-mail address").fill(carol.email)
    ada.press("Send invitation")
    late = site.mail(carol.email, "invit").link
    page.locator("tr", has_text=carol.email).get_by_role("button", name="Cancel").click()
    expect(page.locator("tr", has_text=carol.email)).to_contain_text("Cancelled")
    carol.page.goto(late)
    expect(carol.page.locator("main")).to_contain_text(ada.email)


@on_databases
def test_a_limit_binds_as_it_is_shown(visit, site):
    ada = visit(site).sign_up()
    api_key = create_key(ada, "Limited", requests_per_month="4")
    for number in range(4):
        assert site.call(api_key, f"Question {number}").status_code == 200, number
    refused = site.call(api_key, "One question too many")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert {"message", "type", "code"} <= error.keys(), "in the dialect of OpenAI"
    body = {"model": "claude-sonnet-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": "And one more"}]}
    headers = {"x-api-key": "sk-upstream", "X-AgentCache-Key": api_key, "anthropic-version": "2023-06-01"}
    refused = httpx.post(f"{site.url}/anthropic/v1/messages", json=body, headers=headers, timeout=60)
    assert refused.status_code == 429
    assert refused.json()["type"] == "error", "in the dialect of Anthropic"
    assert site.call(api_key, "Question 1").status_code == 200, "what is in the cache is still served"

    page = wait_until(
        ada.page,
        "/dashboard/billing",
        lambda page: page.locator(".quota", has_text="Limited").get_by_text("100 %").count() > 0,
    )
    bar = page.locator(".quota", has_text="Limited")
    assert re.search(r"of 4\b", bar.inner_text()), bar.inner_text()
    expect(page.locator("main")).to_contain_text("Nearest to stopping calls")
    for path in ("/dashboard", "/dashboard/analytics/cost", "/dashboard/requests", "/dashboard/keys"):
        ada.open(path)

    subprocess.run([sys.executable, "-c", _TELL_OF_USE], env=site.server.environ, check=True, timeout=60)
    letter = site.mail(ada.email, "100 %")
    assert "of 4" in letter.text
    assert "/dashboard/billing" in letter.link
