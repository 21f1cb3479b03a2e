"""Semantic look-ups walked as an admin would: shadow, judges, evidence, a bad hit, quarantine and out of it, the playground."""

from __future__ import annotations

import httpx2 as httpx
from playwright.sync_api import expect

from tests.support.browser.near_questions import leave_near_questions
from tests.support.browser.people import program_of
from tests.support.browser.team_member import notices, wait_until
from tests.support.semantic_models import lend_models

#: One word, longer than any window is wide, as namespaces and prompts may be.
LONG = "w" * 128
CREDENTIAL = {"credential": "sk-of-the-team-8Qz4"}
PAIRS = (
    (LONG * 4, f"{LONG} كيف أعيد تعيين كلمة السر؟"),
    ("How do I reset my password?", "how can i reset the password"),
    ("Explain in two sentences what a load balancer does.", "What does a load balancer do? Two sentences, please."),
    (
        "Which file holds the nginx configuration on Debian, and how do I reload it without losing connections?",
        "Where is nginx configured on Debian, and how is it reloaded without dropping connections?",
    ),
)


def test_shadow_is_begun_and_prompts_are_compared_on_the_playground(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard/semantic")
    inspect(page, "semantic-empty")
    page.get_by_role("link", name="Begin in shadow").click()
    ada.fill(namespace="not one", target="3")
    ada.press("Save")
    expect(page.locator(".field-error")).to_contain_text("is not a name")
    inspect(page, "semantic-wrong-settings")
    ada.fill(namespace="*")
    ada.press("Save")
    notices(page, "Every other namespace: kept")
    inspect(ada.open("/dashboard/semantic/hits"), "semantic-hits-empty")
    inspect(ada.open("/dashboard/semantic/quarantine"), "semantic-quarantine-empty")
    ada.open("/dashboard/semantic/settings/*/remove")
    inspect(page, "semantic-remove")
    # That the first pair waits for a model to be made is tried without a browser.
    lend_models(sqlite_site.folder)
    ada.open("/dashboard/semantic/playground")
    ada.fill(stored="Can I take my phone on the plane?", asked="May I not take my phone on the plane?")
    ada.press("Compare")
    expect(page.locator("#verdict")).to_contain_text("No hit")
    expect(page.locator("main")).to_contain_text("negated on one side only")
    inspect(page, "semantic-playground")
    # The last of the tabs, where there is room for two.
    page.set_viewport_size({"width": 390, "height": 844})
    ada.open("/dashboard/semantic/playground")
    expect(page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=0.9)


def test_a_judge_is_set_and_taken_out(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    page = ada.open("/dashboard/semantic/judges")
    expect(page.get_by_role("link", name="Keep a credential")).to_be_visible()
    with program_of(ada) as program:
        program.put("/api/credentials/openai", json=CREDENTIAL).raise_for_status()
    ada.open("/dashboard/semantic/judges")
    inspect(page, "semantic-judges-empty")
    page.get_by_role("link", name="Have a judge asked").click()
    ada.fill(model="nobody-knows")
    ada.press("Save")
    expect(page.locator(".field-error")).to_contain_text("price of this model is not known")
    inspect(page, "semantic-judge-wrong")
    ada.fill(model="gpt-4o-mini")
    ada.press("Save")
    notices(page, "The judge of every other namespace: kept")
    with program_of(ada) as program:
        _set_up(program)
    ada.open("/dashboard/semantic/judges")
    inspect(page, "semantic-judges")
    inspect(ada.open("/dashboard/semantic/judges/of/*/remove"), "semantic-judge-remove")


def test_evidence_a_bad_hit_and_its_quarantine(visit, sqlite_site, inspect):
    ada = visit(sqlite_site).sign_up()
    page = ada.page
    with program_of(ada) as program:
        team_id = program.get("/api/teams").json()[0]["team"]["id"]
        program.put("/api/credentials/openai", json=CREDENTIAL).raise_for_status()
        _set_up(program, "*")
        _set_up(program)
    request_id = leave_near_questions(sqlite_site, team_id, PAIRS)[0]
    wait_until(page, "/dashboard/semantic", lambda page: page.locator(".chart").count() == 2)
    expect(page.locator("main")).to_contain_text("would have been hits")
    inspect(page, "semantic")
    inspect(ada.open("/dashboard/semantic/hits"), "semantic-hits")
    wait_until(page, f"/dashboard/requests/{request_id}", lambda page: page.locator("#near-question").count() == 1)
    inspect(page, "request-semantic")
    page.get_by_role("button", name="Report a bad hit").click()
    notices(page, "The entry answers no near questions any more")
    inspect(ada.open("/dashboard/semantic/quarantine"), "semantic-quarantine")
    page.get_by_role("button", name="Release").click()
    notices(page, "may answer near questions again")


def _set_up(program: httpx.Client, namespace: str = LONG) -> None:
    """Give a namespace settings and a judge."""
    program.put(f"/api/semantics/settings/{namespace}", json={"mode": "shadow"}).raise_for_status()
    judge = {"provider": "openai", "model": "gpt-4o-mini", "daily_budget_usd": "1"}
    program.put(f"/api/semantics/judges/{namespace}", json=judge).raise_for_status()
