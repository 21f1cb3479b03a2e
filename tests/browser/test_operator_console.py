"""The operator console as operators see it: every list in use, at both widths, light and dark."""

from __future__ import annotations

import pytest

from tests.support.browser.people import make_operator, new_key, program_of
from tests.support.browser.team_member import wait_until
from tests.support.browser.visitor import Visitor

LISTS = (
    "accounts/user", "accounts/loginsession", "teams/team", "teams/membership", "teams/apikey", "quotas/teamplan",
    "quotas/limit", "analytics/usageevent", "mails/mail", "jobs/job", "audit/auditevent",
)  # fmt: skip
#: As long as a team's name can be, and breaks nowhere.
LONG_NAME = "W" * 64


@pytest.fixture(scope="module")
def _root(_turns, _browser, sqlite_site):
    """The window of somebody who became an operator by the link that the server prints; calls have been made."""
    with _turns.taken():
        grace = Visitor.of(_browser, sqlite_site, "grace-with-a-name-that-is-rather-long").sign_up()
        with program_of(grace) as program:
            team_id = program.get("/api/teams").json()[0]["team"]["id"]
            program.patch(f"/api/teams/{team_id}", json={"name": LONG_NAME}).raise_for_status()
        sqlite_site.call(new_key(grace), "Hello")
        grace.close()
        root = Visitor.of(_browser, sqlite_site, "root").sign_up()
        make_operator(root)
        sqlite_site.call(sqlite_site.server.key, "Hello")
    yield root
    with _turns.taken():
        root.close()


@pytest.fixture
def operator(browser, _root):
    """An operator's window."""
    with _root.answering() as root:
        yield root


@pytest.mark.parametrize("name", LISTS)
def test_every_list_fits_and_can_be_used(operator, inspect, name):
    inspect(operator.open(f"/admin/{name}/"), f"console-{name.partition('/')[2]}")


def test_rows_and_the_way_to_a_plan_can_be_used(operator, fits):
    fits(operator.open("/admin/"), "console")
    page = operator.open("/admin/accounts/user/")
    page.locator("#result_list tbody th a").first.click()
    fits(page, "console-user-row")
    page = operator.open("/admin/teams/team/")
    page.locator("#result_list tbody th a").first.click()
    fits(page, "console-team-row")
    page.get_by_role("link", name="Give a plan").click()
    fits(page, "console-plan-add")
    fits(wait_until(page, "/admin/usage/", lambda page: page.get_by_text(LONG_NAME).count() > 0), "console-usage")


def test_viewing_as_somebody_is_marked_on_every_page(operator, sqlite_site, visit, fits):
    grace = visit(sqlite_site, "grace").sign_up()
    operator.open("/admin/accounts/user/")
    operator.page.get_by_role("link", name=grace.email).first.click()
    operator.page.get_by_role("link", name="View as").click()
    operator.fill(reason="Ticket 4711: the chart is empty")
    operator.press("View as this user")
    for path in ("/dashboard", "/dashboard/keys", "/settings/profile"):
        page = operator.open(path)
        assert page.get_by_text("on record as done by").is_visible(), path
        assert grace.email in page.content()
    fits(page, "viewing-as")
    operator.press("End")
