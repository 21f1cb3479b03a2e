"""The prices: the table that is shown is the one that is enforced."""

import re
from dataclasses import fields, replace
from types import MappingProxyType

from agentcache.quotas import plans as table
from agentcache.quotas.plans import PLANS, Plan, PlanName
from agentcache.site import plan_rows
from tests.support.sessions import stranger


def cells(html):
    body = re.search(r"<tbody>(.*?)</tbody>", html, re.DOTALL)[1]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    return {re.split(r"<", label)[0]: re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for label, row in rows}


def test_every_limit_of_a_plan_has_a_row():
    shown = set(plan_rows.ROWS) | {"name", "title", "price_usd_per_month"}
    assert {field.name for field in fields(Plan)} == shown


def test_the_page_shows_the_plans(sqlite_project):
    shown = cells(stranger().get("/pricing").content.decode())
    assert shown["Requests a month"] == ["Unlimited", "10,000", "1,000,000", "10,000,000"]
    assert shown["Price a month"] == ["Free, MIT licence", "$0", "$99", "$299"]
    assert shown["Members"] == ["Unlimited", "3", "25", "Unlimited"]


def test_a_changed_plan_changes_the_page(sqlite_project, monkeypatch):
    free = replace(PLANS[PlanName.FREE], requests_per_month=12_345)
    changed = MappingProxyType({**PLANS, PlanName.FREE: free})
    monkeypatch.setattr(table, "PLANS", changed)
    monkeypatch.setattr(plan_rows, "PLANS", changed)
    assert "12,345" in cells(stranger().get("/pricing").content.decode())["Requests a month"]
