"""Members, invitations and keys of large teams: in pages, each row once, by the API and by following links."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.teams import queries
from agentcache.teams.models import ApiKey, Invitation, Membership
from tests.support.sessions import browser_of, program_of
from tests.support.teams import join, make_team

MANY = 120
NOW = timezone.now()


@pytest.fixture
def crowd(team, owner, admin):
    """A team of `MANY` members beside owner and admin, some of the same name, as many invitations and keys."""
    users = User.objects.bulk_create(User(email=f"p{n:03}@example.com", name=f"Name {n % 7}") for n in range(MANY))
    roles = ("viewer", "member", "admin")
    Membership.objects.bulk_create(Membership(team=team, user=who, role=roles[n % 3]) for n, who in enumerate(users))
    Invitation.objects.bulk_create(
        Invitation(
            team=team, email=f"i{n}@example.com", role="member", invited_by=admin.user,
            sent_at=NOW - timedelta(hours=n // 50), expires_at=NOW + timedelta(days=7 if n % 2 else -1),
        )
        for n in range(MANY)
    )  # fmt: skip
    ApiKey.objects.bulk_create(
        ApiKey(
            team=team, name=f"key {n}", display=f"ac_{n}", key_hash=n.to_bytes(32), scopes=[], created_by=owner.user,
            is_shared=True, revoked_at=NOW if n % 4 == 0 else None,
            expires_at=NOW + timedelta(days=1 if n % 4 > 1 else -1) if n % 4 else None,
        )
        for n in range(MANY)
    )  # fmt: skip
    foreign = make_team("Others")
    join(foreign, "foreigner@example.com", "owner")
    return team


def test_the_api_gives_each_row_once_in_one_order(crowd, admin):
    program, team = program_of(admin.user), f"/api/teams/{crowd.pk}"
    for noun, place, total in [
        ("members", f"{team}/members", MANY + 2), ("invitations", f"{team}/invitations", MANY), ("keys", "/api/keys", MANY)
    ]:  # fmt: skip
        seen: list[str] = []
        pages, cursor = 0, ""
        while pages == 0 or cursor:
            page = program.get(place, {"cursor": cursor, "limit": 49}).json()
            assert len(page[noun]) <= 49
            seen += [row["id"] for row in page[noun]]
            pages, cursor = pages + 1, page["cursor"]
        assert pages == 3, noun
        whole = program.get(place, {"limit": 200}).json()
        assert whole["cursor"] == ""
        assert seen == [row["id"] for row in whole[noun]]
        assert len(set(seen)) == total
    foreign = Membership.objects.get(user__email="foreigner@example.com")
    front = program.get(f"{team}/members").json()
    assert program.get(f"{team}/members", {"cursor": foreign.pk}).json() == front


def test_members_come_by_mark_role_name_and_address(crowd):
    rows = queries.list_members(crowd, limit=200).rows
    keys = [
        (not row.membership.is_owner, ("admin", "member", "viewer").index(row.membership.role),
         row.membership.user.name, row.membership.user.email)
        for row in rows
    ]  # fmt: skip
    assert keys == sorted(keys)


def test_pages_lead_on_by_links_and_back_to_the_first(crowd, admin):
    browser = browser_of(admin.user)
    for page, row, total in [
        ("team/members", r'quiet small">(p\d+@example\.com)<', MANY), ("team/invites", r">(i\d+@example\.com)<", MANY),
        ("keys", r">(key \d+)<", MANY // 2), ("keys?ended=1", r">(key \d+)<", MANY),
    ]:  # fmt: skip
        address = f"/dashboard/{page}"
        seen: list[str] = []
        further = None
        while not seen or further:
            html = browser.get(address).content.decode()
            assert ('rel="prev"' in html) == bool(seen)
            seen += re.findall(row, html)
            if further := re.search(r'href="(\?[^"]*)" rel="next"', html):
                address = f"/dashboard/{page}".split("?")[0] + further[1].replace("&amp;", "&")
        assert len(seen) == len(set(seen)) == total, page
        back = re.search(r'href="(\?[^"]*)" rel="prev"', html)
        assert back is not None
        assert "cursor" not in back[1]
    assert f"Show {MANY // 2} that ended" in browser.get("/dashboard/keys").content.decode()
