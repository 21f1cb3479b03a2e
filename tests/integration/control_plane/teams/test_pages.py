"""The pages of teams as members, strangers and invited people walk them."""

import re

import pytest
from django.utils.html import escape

from agentcache.accounts.models import User
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.teams import services
from agentcache.teams.models import Invitation, Membership, Team
from agentcache.teams.secrets import current_secrets
from tests.support.sessions import browser_of, stranger
from tests.support.teams import PASSWORD, invitation_token, join, make_team, make_user

SYSTEM = Actor.system()
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(32)
#: Page -> roles that see it.
PAGES = {
    "/dashboard/team": {"owner", "admin", "member", "viewer"},
    "/dashboard/team/members/{target}": {"owner", "admin"},
    "/dashboard/team/members/{target}/remove": {"owner", "admin"},
    "/dashboard/team/members/{target}/transfer": {"owner"},
    "/dashboard/team/leave": {"owner", "admin", "member", "viewer"},
    "/dashboard/team/roles": {"owner", "admin", "member", "viewer"},
    "/dashboard/team/invites": {"owner", "admin", "member", "viewer"},
    "/dashboard/team/invites/new": {"owner", "admin"},
    "/dashboard/team/settings": {"owner", "admin"},
    "/dashboard/team/webhook-key": {"owner", "admin"},
    "/dashboard/team/delete": {"owner"},
    "/dashboard/team/new": {"owner", "admin", "member", "viewer"},
    "/dashboard/team/switch": {"owner", "admin", "member", "viewer"},
    "/dashboard/audit": {"owner", "admin"},
}


@pytest.fixture
def browsers(team, owner, admin, member):
    viewer = join(team, "viewer@example.com", "viewer")
    return {name: browser_of(row.user) for name, row in
            (("owner", owner), ("admin", admin), ("member", member), ("viewer", viewer))}  # fmt: skip


def test_t6_each_role_sees_the_pages_that_the_table_gives_it(team, browsers):
    target = join(team, "target@example.com")
    services.invite(team, "guest@example.com", "viewer", by=Membership.objects.get(user__email="owner@example.com"),
                    actor=SYSTEM)  # fmt: skip
    seen = {
        page: {
            name for name, browser in browsers.items() if browser.get(page.format(target=target.pk)).status_code == 200
        }
        for page in PAGES
    }
    assert seen == PAGES
    refused = browsers["viewer"].get("/dashboard/audit")
    assert refused.status_code == 403
    assert b"owner@example.com" in refused.content


def test_the_webhook_signing_key_is_shown_when_asked_for_and_replaced_on_record(team, browsers):
    page = "/dashboard/team/webhook-key"
    assert b"whsec_" not in browsers["admin"].get(page).content
    shown = re.search(r"whsec_[\w+/=]+", browsers["admin"].post(page).content.decode())
    again = re.search(r"whsec_[\w+/=]+", browsers["owner"].post(page).content.decode())
    assert shown and again and shown[0] == again[0]
    replaced = re.search(r"whsec_[\w+/=]+", browsers["admin"].post(page, {"replace": "1"}).content.decode())
    assert replaced and replaced[0] != shown[0]
    assert AuditEvent.objects.get(action="team.webhook_key_replaced").actor_email == "admin@example.com"
    assert browsers["member"].post(page, {"replace": "1"}).status_code == 403
    team.refresh_from_db()
    assert team.webhook_key_number == 1


def test_members_of_another_team_are_not_found_on_pages(browsers):
    foreign = join(make_team("Red Foxes"), "fox@example.com")
    for page in PAGES:
        if "{target}" in page:
            assert browsers["owner"].get(page.format(target=foreign.pk)).status_code == 404


def test_an_old_sign_in_is_asked_to_prove_itself_and_comes_back(team, owner):
    browser = browser_of(owner.user, signed_in_seconds_ago=3600)
    answer = browser.get("/dashboard/team/delete")
    assert (answer.status_code, answer["Location"].partition("?")[2]) == (302, "next=%2Fdashboard%2Fteam%2Fdelete")
    invitation = services.invite(team, "guest@example.com", "viewer", by=owner, actor=SYSTEM)
    answer = browser.post(f"/dashboard/team/invites/{invitation.pk}/cancel")
    assert answer["Location"].endswith("next=%2Fdashboard%2Fteam%2Finvites")
    assert Invitation.objects.get().cancelled_at is None


def test_teams_are_made_and_switched_and_foreign_ones_do_not_open(project):
    browser = browser_of(make_user("ada@example.com"))
    assert browser.get("/dashboard/team")["Location"] == "/dashboard/team/new"
    for name in ("Blue Whales", "Red Foxes"):
        assert browser.post("/dashboard/team/new", {"name": name}).status_code == 302
    assert b"Red Foxes" in browser.get("/dashboard/team").content
    first = Team.objects.get(name="Blue Whales")
    assert browser.post("/dashboard/team/switch", {"team": first.pk}).status_code == 302
    assert b"Blue Whales" in browser.get("/dashboard/team").content
    assert browser.post("/dashboard/team/switch", {"team": make_team("Grey Owls").pk}).status_code == 404


def test_removing_somebody_lists_the_keys_and_says_what_breaks(team, member, browsers):
    key = services.create_api_key(current_secrets(), team, "nightly eval", created_by=member.user).row
    page = browsers["admin"].get(f"/dashboard/team/members/{member.pk}/remove").content.decode()
    assert "nightly eval" in page
    assert key.display in page
    assert browsers["member"].get("/dashboard/team").status_code == 200
    assert browsers["admin"].post(f"/dashboard/team/members/{member.pk}/remove", {"keys": "revoke"}).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert browsers["member"].get("/dashboard/team")["Location"] == "/dashboard/team/new"


def test_the_last_owner_is_told_why_leaving_is_refused(browsers, owner):
    answer = browsers["owner"].post("/dashboard/team/leave", {"keys": "keep"})
    assert answer.status_code == 422
    assert b"make somebody else an owner first" in answer.content
    assert Membership.objects.filter(pk=owner.pk).exists()


def test_a_team_is_deleted_once_its_name_is_typed(team, browsers):
    assert browsers["owner"].post("/dashboard/team/delete", {"name": "blue whales"}).status_code == 422
    assert browsers["owner"].post("/dashboard/team/delete", {"name": "Blue Whales"}).status_code == 302
    assert not Team.objects.filter(pk=team.pk).exists()


def test_a_logo_is_kept_and_served_as_a_picture_to_members_only(team, browsers):
    from django.core.files.uploadedfile import SimpleUploadedFile

    upload = {"logo": SimpleUploadedFile("../../evil.html", PNG, "text/html")}
    assert browsers["admin"].post("/dashboard/team/logo", upload).status_code == 302
    address = f"/dashboard/team/logo/{team.pk}/{team.logo.digest}"
    assert address in browsers["admin"].get("/dashboard/team/settings").content.decode()
    picture = browsers["viewer"].get(address)
    assert (picture.content, picture["Content-Type"]) == (PNG, "image/png")
    assert picture["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in picture["Content-Security-Policy"]
    assert browser_of(make_user("x@example.com")).get(address).status_code == 404
    assert stranger().get(address).status_code == 302


def test_somebody_without_an_account_joins_by_the_link_alone(team, owner):
    services.invite(team, "grace@example.com", "viewer", by=owner, actor=SYSTEM)
    address = f"/invite/{invitation_token('grace@example.com')}"
    visitor = stranger()
    page = visitor.get(address).content.decode()
    assert "Blue Whales" in page
    assert "owner@example.com" in page
    assert not User.objects.filter(email="grace@example.com").exists()
    assert visitor.post(address, {"password": "short"}).status_code == 422
    answer = visitor.post(address, {"password": PASSWORD, "name": "Grace"})
    assert answer.status_code == 302
    grace = User.objects.get(email="grace@example.com")
    assert grace.check_password(PASSWORD)
    assert {row.team.name: row.role for row in grace.memberships.all()} == {
        "Blue Whales": "viewer",
        "Grace’s team": "admin",
    }
    assert visitor.get(address).status_code != 200


def test_the_link_helps_whoever_is_signed_in_with_another_address(team, owner):
    services.invite(team, "grace@example.com", "viewer", by=owner, actor=SYSTEM)
    address = f"/invite/{invitation_token('grace@example.com')}"
    other = browser_of(make_user("other@example.com"))
    page = other.get(address).content.decode()
    for word in ("grace@example.com", "other@example.com", "owner@example.com", "switch account"):
        assert word in page
    assert other.post(address).status_code == 403
    assert team.memberships.count() == 1


def test_an_existing_user_accepts_with_a_click_and_the_team_opens(team, owner):
    grace = make_user("grace@example.com")
    services.invite(team, grace.email, "member", by=owner, actor=SYSTEM)
    address = f"/invite/{invitation_token(grace.email)}"
    assert f"next={address}" in stranger().get(address).content.decode().replace("%2F", "/")
    browser = browser_of(grace)
    assert browser.get(address).status_code == 200
    assert not grace.memberships.exists()
    assert browser.post(address)["Location"] == "/dashboard/team/members"
    assert b"Blue Whales" in browser.get("/dashboard/team").content


def test_a_replaced_link_says_who_to_ask(team, owner):
    invitation = services.invite(team, "grace@example.com", "member", by=owner, actor=SYSTEM)
    old = invitation_token("grace@example.com")
    services.resend_invitation(team, invitation.pk, by=owner, actor=SYSTEM)
    answer = stranger().get(f"/invite/{old}")
    assert answer.status_code == 403
    assert b"newer mail" in answer.content
    assert b"owner@example.com" in answer.content
    assert stranger().get("/invite/unknown").status_code == 404


def test_names_are_shown_as_text(team, owner, browsers):
    name = "<script>alert(1)</script>"
    services.update_team(team, actor=SYSTEM, name=name)
    for page in ("/dashboard/team", "/dashboard/team/settings", "/dashboard/team/delete", "/dashboard/audit"):
        body = browsers["owner"].get(page).content.decode()
        assert name not in body
        assert escape(name) in body


async def test_the_log_is_exported_whole_as_csv_and_json_lines(sqlite_project, monkeypatch):
    import json

    from asgiref.sync import sync_to_async
    from django.conf import settings
    from django.test import AsyncClient

    from tests.support.sessions import session_of

    @sync_to_async
    def prepare():
        team = make_team()
        row = join(team, "owner@example.com", "owner")
        for number in range(600):
            services.update_team(team, actor=SYSTEM, name=f"=cmd {number}")
        return session_of(row.user)

    client = AsyncClient()  # it always says that it is for `testserver`
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["testserver"])
    client.cookies[settings.SESSION_COOKIE_NAME] = await prepare()
    for form, lines in (("csv", 601), ("jsonl", 600)):
        answer = await client.get(f"/dashboard/audit/export?format={form}&action=team.updated")
        body = b"".join([chunk async for chunk in answer]).decode()
        assert "attachment" in answer["Content-Disposition"]
        assert len(body.splitlines()) == lines
        if form == "jsonl":
            assert json.loads(body.splitlines()[0])["after"] == {"name": "=cmd 599"}
        else:
            assert ",=cmd" not in body
