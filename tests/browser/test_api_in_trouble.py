"""E7: a server that fails, is slow or out of reach leaves people with a message, a way on, and what they wrote."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.support.browser.damage import broken_table
from tests.support.browser.hostile import LIVE_PARTS
from tests.support.browser.people import new_key, program_of
from tests.support.browser.visitor import Visitor
from tests.support.reliability import record

#: Whatever is told of a request that was made to fail; a violated policy is never among it.
FAILURES = re.compile(r"^(?!.*CSP).*(answer: |Response Status|htmx|could run|Failed to fetch|ERR_)")
#: The policy looks at markup before we do.
STOPPED = re.compile(r"inline event handler|CSP: script-src-attr inline")
OURS = {"X-AgentCache-Request-Id": "req_1", "Content-Type": "text/html"}
CALLS = 3


@pytest.fixture(scope="module")
def _ada(_turns, _browser, sqlite_site):
    with _turns.taken():
        ada = Visitor.of(_browser, sqlite_site, "trouble").sign_up()
        key = new_key(ada)
        # The overview would load itself anew when the first call is counted.
        ada.page.goto("about:blank")
        for number in range(CALLS):
            assert sqlite_site.call(key, f"Trouble {number}").status_code == 200
        with program_of(ada) as program:
            while program.get("/dashboard/requests?live=0").text.count('id="request-') < CALLS:
                ada.page.wait_for_timeout(100)
    yield ada
    with _turns.taken():
        ada.close()


@pytest.fixture
def ada(browser, _ada):
    """Somebody with a few requests; whatever went wrong in their window fails the test."""
    _ada.troubles.clear()
    yield _ada
    _ada.page.unroute_all(behavior="ignoreErrors")
    _ada.page.context.set_offline(False)
    assert _ada.troubles == []


@contextmanager
def forgiving(ada, *patterns):
    """Let requests fail inside the block."""
    yield
    ada.page.wait_for_timeout(50)
    ada.troubles[:] = [one for one in ada.troubles if not any(pattern.search(one) for pattern in (FAILURES, *patterns))]


def answered(status, body="", headers=None):
    def handle(route):
        route.fulfill(status=status, body=body, headers=headers or {"Content-Type": "text/html"})

    return handle


def cut_in_half(route):
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    route.fulfill(status=answer.status, headers=headers, body=answer.text()[: len(answer.text()) // 2])


def forged(markup):
    return answered(200, f'<div id="results">{markup}</div>', OURS)


def hung_up(route):
    route.abort("connectionreset")


FAULTS = {
    "500": (answered(500, "Internal Server Error", OURS), "500, request id req_1"),
    "502 of a proxy": (answered(502, "<html>Bad gateway</html>"), "502"),
    "429": (answered(429, "slow down"), "too often"),
    "a login page of the network": (answered(200, "<html><body>Pay for Wi-Fi</body></html>"), "Something between"),
    "half an answer": (cut_in_half, "broke off"),
    "nothing of the kind": (answered(200, "<p>Hello</p>", OURS), "broke off"),
    "a connection that ends": (hung_up, "cannot be reached"),
    "a script": (forged("<script>__xss=1</script>"), "could not be shown"),
    "a handler": (forged("<img src=x onerror=__xss=1>"), "could not be shown"),
    "a script in a link": (forged("<a href='java&#10;script:__xss=1'>a</a>"), "could not be shown"),
    "a frame": (forged("<iframe srcdoc='x'></iframe>"), "could not be shown"),
    "a handler of htmx": (forged("<p hx-on:click='__xss=1'>b</p>"), "could not be shown"),
}


def rows(page):
    return page.locator("#results tbody tr")


def test_a_list_says_what_failed_keeps_what_it_shows_and_tries_again(ada, visit, sqlite_site):
    """E7: at each fault; no endless spinner, no empty list that looks like the truth."""
    page = ada.open("/dashboard/requests?live=0")
    for name, (fault, words) in FAULTS.items():
        page.route("**/dashboard/requests?*", fault)
        with forgiving(ada, *([STOPPED] if name == "a handler" else [])):
            page.locator("[name=model]").fill(f"gpt-5-mini {name}")
            page.locator("[name=model]").blur()
            expect(page.locator("#trouble")).to_contain_text(words)
        expect(page.locator("#trouble")).to_have_attribute("role", "alert")
        expect(rows(page)).to_have_count(CALLS)
        expect(page.locator(".busy-line")).to_have_count(0)
        assert page.evaluate(LIVE_PARTS) == [], name
        page.unroute_all()
        page.locator("[name=model]").evaluate("field => { field.value = 'gpt-5-mini'; }")
        page.locator("#trouble button").click()
        expect(page.locator("#trouble")).to_have_count(0)
        expect(page.locator("#results .chip")).to_contain_text("gpt-5-mini")
        expect(rows(page)).to_have_count(CALLS)
    assert page.evaluate("window.__xss ?? null") is None
    page.locator("[name=model]").fill("")
    page.locator("[name=model]").blur()
    expect(page.locator("#results .chip")).to_have_count(0)
    assert page.url.endswith("/dashboard/requests?live=0") or "?" not in page.url
    page.go_back()
    expect(page.locator("#results .chip")).to_contain_text("gpt-5-mini")
    record("E7 lists", faults=len(FAULTS), dead_screens=0)


def test_a_slow_answer_shows_that_it_is_awaited(ada):
    """E7: the line at the top, which goes away with the answer."""
    page = ada.open("/dashboard/requests?live=0")
    waiting = []

    def hold(route):
        waiting.append(route)

    page.route("**/dashboard/requests?*", hold)
    page.locator("[name=outcome]").select_option("miss")
    expect(page.locator(".busy-line")).to_have_count(1)
    expect(rows(page)).to_have_count(CALLS)
    waiting[0].continue_()
    expect(page.locator(".busy-line")).to_have_count(0)
    expect(page.locator("#results .chip")).to_contain_text("miss", ignore_case=True)


def test_an_answer_that_never_comes_is_given_up(ada):
    """E7: after fifteen seconds, by htmx's own deadline."""
    page = ada.open("/dashboard/requests?live=0")
    page.route("**/dashboard/requests?*", lambda route: None)
    with forgiving(ada):
        page.locator("[name=outcome]").select_option("miss")
        expect(page.locator("#trouble")).to_contain_text("did not answer in time", timeout=60_000)
    expect(page.locator(".busy-line")).to_have_count(0)


def test_a_list_that_renews_itself_recovers_by_itself(ada):
    """E7: it says so as long as it cannot."""
    # A window of its own, whose clock can be set.
    page = ada.page.context.new_page()
    page.clock.install()
    page.goto("/dashboard/requests")
    page.route("**/dashboard/requests", answered(503, "", OURS))
    with forgiving(ada):
        page.clock.run_for(5_100)
        expect(page.locator("#trouble")).to_contain_text("tried again every few seconds")
    expect(rows(page)).to_have_count(CALLS)
    page.unroute_all()
    page.clock.run_for(5_100)
    expect(page.locator("#trouble")).to_have_count(0)
    page.close()


def test_charts_and_colours_do_without(ada):
    """E7: without its script a chart is a table; a choice that was not kept says so."""
    page = ada.page
    page.route("**/design/built/charts*.js", hung_up)
    with forgiving(ada):
        ada.open("/dashboard")
        expect(page.locator("details.chart-table").first).to_have_attribute("open", "")
        page.route("**/preferences", answered(500))
        page.locator("details.account-menu summary").last.click()
        page.locator("[data-theme-choice] button[value=dark]").last.click()
        expect(page.locator("#trouble")).to_contain_text("did not keep")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_form_is_not_sent_without_a_network(ada):
    """E7: offline, the form stays with what was written, and goes out later."""
    page = ada.open("/dashboard/team/settings")
    ada.fill(name="Written offline")
    page.context.set_offline(True)
    expect(page.locator("#trouble")).to_contain_text("no network connection")
    ada.press("Save")
    expect(page.locator("#trouble")).to_contain_text("Nothing was sent")
    expect(page.locator("[name=name]").first).to_have_value("Written offline")
    page.context.set_offline(False)
    expect(page.locator("#trouble")).to_have_count(0)
    ada.press("Save")
    expect(page.locator(".toast")).to_contain_text("kept")
    expect(page.locator("[name=name]").first).to_have_value("Written offline")
    expect(page.get_by_text("What you wrote before")).to_have_count(0)


@pytest.mark.parametrize("fault", ["500", "502 of a proxy", "429", "half an answer"])
def test_what_was_written_outlives_a_failed_answer(ada, fault):
    """E7: one step back, and it is there."""
    ada.open("/dashboard/team/members")
    page = ada.open("/dashboard/team/new")
    ada.fill(name=f"Through {fault}")
    page.route(
        "**/dashboard/team/new",
        answered(200, "<html><body>Half", OURS) if fault.startswith("half") else FAULTS[fault][0],
    )
    with forgiving(ada), page.expect_navigation():
        ada.press("Make the team")
    page.unroute_all()
    page.go_back()
    expect(page.locator("[name=name]")).to_have_value(f"Through {fault}")
    assert page.evaluate("sessionStorage['agentcache.draft'] ?? null") is None, "given back, and kept all the same"


def test_what_was_written_outlives_an_error_of_ours(ada, sqlite_site):
    """E7: the page that says so says to go back; the form is as it was."""
    page = ada.open("/dashboard/team/new")
    ada.fill(name="Through a damaged database")
    with broken_table(sqlite_site, "audit_auditevent"), ada.expecting("answer: 503"):
        ada.press("Make the team")
        expect(page.locator("h1")).to_have_text("Busy at this moment")
    page.go_back()
    expect(page.locator("[name=name]")).to_have_value("Through a damaged database")
    ada.press("Make the team")
    page.wait_for_url("**/dashboard/team/members")
    assert page.evaluate("sessionStorage['agentcache.draft'] ?? null") is None


def test_a_session_that_ends_in_the_middle_of_a_form(ada):
    """E7: after signing in again the form is there as it was; only for whoever wrote it."""
    for is_the_same in (True, False):
        page = ada.open("/dashboard/team/settings")
        ada.fill(name="In the middle")
        page.context.clear_cookies(name="agentcache_session")
        ada.press("Save")
        page.wait_for_url("**/login?next=*")
        if not is_the_same:
            page.evaluate("""() => {
              const draft = JSON.parse(sessionStorage["agentcache.draft"]);
              sessionStorage["agentcache.draft"] = JSON.stringify({ ...draft, who: "somebody else" });
            }""")
        ada.sign_in()
        page.wait_for_url("**/dashboard/team/settings")
        note = page.get_by_text("What you wrote before is here again")
        expect(note).to_have_count(2 if is_the_same else 0)
        if is_the_same:
            expect(page.locator("[name=name]").first).to_have_value("In the middle")
        else:
            expect(page.locator("[name=name]").first).not_to_have_value("In the middle")
        assert page.evaluate("sessionStorage['agentcache.draft'] ?? null") is None
    record("E7 forms", faults=7, texts_lost=0, dead_screens=0)
