"""The operator console as operators see it: every list in use, at both widths, light and dark."""

from __future__ import annotations

import re

import pytest

LISTS = (
    "accounts/user", "accounts/loginsession", "teams/team", "teams/membership", "teams/apikey", "quotas/teamplan",
    "quotas/limit", "analytics/usageevent", "mails/mail", "jobs/job", "audit/auditevent",
)  # fmt: skip


@pytest.fixture
def operator(site, visit):
    """Somebody who has made a key and a call, and became an operator by the link that the server prints."""
    visitor = visit(site, "root").sign_up()
    link = re.search(r"/setup/\S+", site.server.run("operators", "invite").stdout)
    assert link is not None
    visitor.open(link[0])
    visitor.press("Make me an operator")
    visitor.page.wait_for_url("**/admin/")
    return visitor


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize("lists", [LISTS[:1], LISTS[1:3], LISTS[3:5], LISTS[5:7], LISTS[7:9], LISTS[9:]])
def test_every_list_fits_and_can_be_used(operator, site, visit, inspect, lists):
    visit(site, "grace-with-a-name-that-is-rather-long").sign_up()
    site.call(site.server.key, "Hello")
    for name in lists:
        page = operator.open(f"/admin/{name}/")
        inspect(page, f"console-{name.partition('/')[2]}")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
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
    fits(operator.open("/admin/usage/"), "console-usage")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_viewing_as_somebody_is_marked_on_every_page(operator, site, visit, fits):
    grace = visit(site, "grace").sign_up()
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
