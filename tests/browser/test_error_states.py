"""E9: what goes wrong is said so that everybody can perceive and use it: axe-core finds nothing serious in any such state."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import looks
from tests.support.browser.attacker import Attacker
from tests.support.browser.damage import broken_table
from tests.support.browser.people import join, new_key, program_of
from tests.support.browser.visitor import Visitor
from tests.support.reliability import record

# The first test waits for everything to be set up; a busy machine takes its time.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def _people(_turns, _browser, sqlite_site):
    with _turns.taken():
        ada = Visitor.of(_browser, sqlite_site, "errors").sign_up()
        bob = Visitor.of(_browser, sqlite_site, "bob")
        join(bob, ada)
        # Overviews would load themselves anew when the first call is counted.
        for person in (ada, bob):
            person.page.goto("about:blank")
        key = new_key(ada)
        with program_of(ada) as program:
            limit = {"kind": "team", "subject": "", "requests_per_month": 1, "is_hard": True}
            program.put("/api/quotas/limits", json=limit).raise_for_status()
        for number in range(3):
            sqlite_site.call(key, f"Over quota {number}")
    yield ada, bob
    with _turns.taken():
        ada.close()
        bob.close()


@pytest.fixture
def people(browser, _people):
    """The owner of a team that has used its quota up, and a plain member."""
    return _people


def wrong_form(ada):
    page = ada.open("/dashboard/team/settings")
    ada.fill(default_namespace="not a namespace!")
    ada.press("Save")
    expect(page.locator("[aria-invalid=true]")).to_have_count(1)
    return page


def wrong_password(eve):
    page = eve.open("/login")
    eve.fill(email="nobody@example.com", password="not the password")
    page.locator("main form:has([name=password]) button[type=submit]").click()
    expect(page.locator("[role=alert], [aria-invalid=true]").first).to_be_visible()
    return page


def ended_session(eve):
    page = eve.page
    page.goto("/dashboard/team/settings")
    page.wait_for_url("**/login?next=*")
    return page


def unknown_invitation(eve):
    eve.page.goto("/invite/no-such-token")
    return eve.page


def spent_link(eve):
    return eve.open("/verify?token=spent")


def foreign_form(ada):
    page = ada.page
    with Attacker() as attacker:
        page.goto(attacker.sibling)
        with page.expect_navigation(url="**/dashboard/team/new"):
            page.evaluate(
                """(action) => document.body.appendChild(
                  Object.assign(document.createElement("form"), { method: "post", action })).submit()""",
                f"{ada.site.url}/dashboard/team/new",
            )
    return page


def missing(ada):
    ada.page.goto("/dashboard/keys/none")
    return ada.page


def no_page(ada):
    ada.page.goto("/preferences")
    return ada.page


def nothing(eve):
    eve.page.goto("/nothing/here")
    return eve.page


def forbidden(bob):
    bob.page.goto("/dashboard/team/settings")
    return bob.page


def used_up(ada):
    return ada.open("/dashboard/billing")


def no_entry(ada):
    ada.page.goto(f"/dashboard/cache/{'0' * 64}")
    return ada.page


def wrong_filter(ada):
    return ada.open("/dashboard/requests?live=0&status=nonsense")


STATES = {
    "form errors": (wrong_form, "owner", 422), "a wrong password": (wrong_password, "stranger", None),
    "a session that ended": (ended_session, "stranger", 200), "an invitation that is none": (unknown_invitation, "stranger", 404),
    "a link that is spent": (spent_link, "stranger", 200), "a form of another site": (foreign_form, "owner", 403),
    "a key that is none": (missing, "owner", 404), "an address for forms": (no_page, "owner", 405),
    "nothing here": (nothing, "stranger", 404), "forbidden": (forbidden, "member", 403), "over quota": (used_up, "owner", 200),
    "an entry that is none": (no_entry, "owner", 404), "a filter that is none": (wrong_filter, "owner", 200),
}  # fmt: skip


def test_every_refusal_can_be_read_and_left(people, visit, sqlite_site):
    """E9: pages that say no: with a heading, a way on, and nothing serious for axe-core."""
    ada, bob = people
    who = {"owner": ada, "member": bob, "stranger": visit(sqlite_site, "eve")}
    for name, (reach, by, status) in STATES.items():
        answers = []

        def note(answer, answers=answers):
            answers.append(answer)

        page = who[by].page
        page.on("response", note)
        reach(who[by])
        page.remove_listener("response", note)
        if status is not None:
            assert [one for one in answers if one.request.is_navigation_request()][-1].status == status, name
        expect(page.locator("h1")).to_have_count(1)
        assert page.locator("main a[href], main button:visible").count() > 0, f"{name}: no way on"
        looks.inspect(page, name)
    for person in who.values():
        person.troubles[:] = [
            one for one in person.troubles if not re.search("answer: 4|^foreign: GET http://127", one)
        ]
        assert person.troubles == []
    record("E9 pages", states=len(STATES), serious=0)


def test_a_failed_server_can_be_read(people, sqlite_site):
    """E9: its page, with the id to ask about, and a way on."""
    ada, _ = people
    with broken_table(sqlite_site, "teams_invitation"), ada.expecting("answer: 503"):
        ada.page.goto("/dashboard/team/invites")
    expect(ada.page.locator("h1")).to_have_text("Busy at this moment")
    expect(ada.page.locator("code")).to_contain_text("req_")
    looks.inspect(ada.page, "a failed server")
    record("E9 failed", states=1, serious=0)


def test_notices_of_scripts_can_be_read(people):
    """E9: offline, an answer that failed, and a form that was given back."""
    ada, _ = people
    page = ada.open("/dashboard/team/new")
    ada.fill(name="Offline")
    page.context.set_offline(True)
    ada.press("Make the team")
    expect(page.locator("#trouble")).to_contain_text("Nothing was sent")
    looks.inspect(page, "offline")
    page.context.set_offline(False)
    page.route("**/dashboard/team/new", lambda route: route.fulfill(status=502, body="bad gateway"))
    with ada.expecting("answer: 502"), page.expect_navigation():
        ada.press("Make the team")
    page.unroute_all()
    page.go_back()
    expect(page.locator("[name=name]")).to_have_value("Offline")
    looks.inspect(page, "a form given back")
    ada.open("/dashboard/requests?live=0")
    page.route(
        "**/dashboard/requests?*", lambda route: route.fulfill(status=503, headers={"X-AgentCache-Request-Id": "req_1"})
    )
    with ada.expecting("503"):
        page.locator("[name=outcome]").select_option("miss")
        expect(page.locator("#trouble")).to_contain_text("503")
    looks.inspect(page, "a list that failed")
    page.unroute_all()
    record("E9 notices", states=3, serious=0)
