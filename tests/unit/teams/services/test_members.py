import threading

import pytest
from django.db import connections

from agentcache.audit.services import Actor
from agentcache.teams import queries, services
from agentcache.teams.errors import (
    InvalidRole,
    LastOwner,
    MemberNotFound,
    MissingPermission,
    OwnersAreAdmins,
    TeamNotFound,
)
from agentcache.teams.models import ApiKey, Membership
from agentcache.teams.secrets import current_secrets
from tests.support.teams import join, mails_of, make_team

BY_SYSTEM = {"actor": Actor.system()}


def fresh(row):
    return Membership.objects.get(pk=row.pk)


def test_an_admin_changes_a_role(team, admin, member):
    services.change_role(team, member.pk, "viewer", by=admin, **BY_SYSTEM)
    assert fresh(member).role == "viewer"


def test_a_member_changes_no_role(team, member):
    other = join(team, "other@example.com")
    with pytest.raises(MissingPermission):
        services.change_role(team, other.pk, "viewer", by=member, **BY_SYSTEM)
    assert fresh(other).role == "member"


@pytest.mark.parametrize("role", ["owner", "", "Admin"])
def test_only_the_three_roles_can_be_given(team, admin, member, role):
    with pytest.raises(InvalidRole):
        services.change_role(team, member.pk, role, by=admin, **BY_SYSTEM)


def test_who_lost_the_right_a_moment_ago_changes_nothing_more(team, owner, admin, member):
    services.change_role(team, admin.pk, "member", by=owner, **BY_SYSTEM)
    with pytest.raises(MissingPermission):
        services.change_role(team, member.pk, "viewer", by=admin, **BY_SYSTEM)
    services.remove_member(team, admin.pk, by=owner, revoke_keys=False, **BY_SYSTEM)
    with pytest.raises(TeamNotFound):
        services.change_role(team, member.pk, "viewer", by=admin, **BY_SYSTEM)


def test_an_owner_keeps_the_role_of_an_admin(team, owner, admin):
    with pytest.raises(OwnersAreAdmins):
        services.change_role(team, owner.pk, "member", by=admin, **BY_SYSTEM)


def test_members_of_another_team_are_not_there(project, team, admin):
    stranger = join(make_team("Red Foxes"), "stranger@example.com")
    with pytest.raises(MemberNotFound):
        services.change_role(team, stranger.pk, "viewer", by=admin, **BY_SYSTEM)
    with pytest.raises(MemberNotFound):
        services.remove_member(team, stranger.pk, by=admin, revoke_keys=True, **BY_SYSTEM)
    assert fresh(stranger).role == "member"


def test_only_an_owner_makes_another_one(team, owner, admin, member):
    with pytest.raises(MissingPermission):
        services.set_owner(team, member.pk, True, by=admin, **BY_SYSTEM)
    services.set_owner(team, member.pk, True, by=owner, **BY_SYSTEM)
    assert fresh(member).is_owner
    assert fresh(member).role == "admin"


def test_the_last_owner_keeps_the_mark_and_stays(team, owner, admin):
    for attempt in (
        lambda: services.set_owner(team, owner.pk, False, by=owner, **BY_SYSTEM),
        lambda: services.leave_team(team, by=owner, **BY_SYSTEM),
        lambda: services.remove_member(team, owner.pk, by=owner, revoke_keys=False, **BY_SYSTEM),
    ):
        with pytest.raises(LastOwner):
            attempt()
    assert fresh(owner).is_owner


def test_an_admin_cannot_remove_an_owner(team, owner, admin):
    join(team, "second@example.com", "owner")
    with pytest.raises(MissingPermission):
        services.remove_member(team, owner.pk, by=admin, revoke_keys=False, **BY_SYSTEM)


@pytest.mark.parametrize("way", ["unmark", "leave", "mixed"])
def test_of_two_owners_who_go_at_once_one_stays(team, owner, way):
    other = join(team, "second@example.com", "owner")
    begin, outcomes = threading.Barrier(2), []

    def go(who, leaves):
        begin.wait()
        try:
            if leaves:
                services.leave_team(team, by=who, **BY_SYSTEM)
            else:
                services.set_owner(team, who.pk, False, by=who, **BY_SYSTEM)
            outcomes.append("gone")
        except LastOwner:
            outcomes.append("stays")
        finally:
            connections.close_all()

    plan = {"unmark": (False, False), "leave": (True, True), "mixed": (True, False)}[way]
    threads = [threading.Thread(target=go, args=pair) for pair in zip((owner, other), plan, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["gone", "stays"]
    assert queries.count_owners(team) == 1


def test_ownership_goes_over_whole(team, owner, member):
    services.transfer_ownership(team, member.pk, by=owner, **BY_SYSTEM)
    assert (fresh(member).is_owner, fresh(member).role, fresh(member).has_billing) == (True, "admin", True)
    assert (fresh(owner).is_owner, fresh(owner).role) == (False, "admin")
    assert [mail.to for mail in mails_of("team-ownership")] == ["member@example.com"]


def test_an_admin_without_the_billing_mark_cannot_give_it(team, owner, admin, member):
    with pytest.raises(MissingPermission):
        services.set_billing(team, member.pk, True, by=admin, **BY_SYSTEM)
    services.set_billing(team, member.pk, True, by=owner, **BY_SYSTEM)
    assert fresh(member).has_billing


def test_several_changes_are_made_together_or_not_at_all(team, owner, admin, member):
    with pytest.raises(MissingPermission):
        services.change_member(team, member.pk, by=admin, role="viewer", has_billing=True, **BY_SYSTEM)
    assert fresh(member).role == "member"
    second = join(team, "second@example.com", "owner")
    services.change_member(team, second.pk, by=owner, role="viewer", is_owner=False, **BY_SYSTEM)
    assert (fresh(second).role, fresh(second).is_owner) == ("viewer", False)


@pytest.mark.parametrize("revoke", [False, True], ids=["kept", "revoked"])
def test_keys_of_somebody_who_is_removed_are_kept_or_revoked_by_choice(team, admin, member, revoke):
    theirs = services.create_api_key(current_secrets(), team, "theirs", created_by=member.user).row
    others = services.create_api_key(current_secrets(), team, "others", created_by=admin.user).row
    assert list(queries.keys_made_by(member)) == [theirs]
    services.remove_member(team, member.pk, by=admin, revoke_keys=revoke, **BY_SYSTEM)
    assert not Membership.objects.filter(pk=member.pk).exists()
    assert (ApiKey.objects.get(pk=theirs.pk).revoked_at is not None) == revoke
    assert ApiKey.objects.get(pk=others.pk).revoked_at is None
    assert [mail.to for mail in mails_of("team-removed")] == ["member@example.com"]


def test_the_list_tells_second_factors_and_working_keys(team, owner, admin, member):
    from allauth.mfa.models import Authenticator

    Authenticator.objects.create(user=admin.user, type=Authenticator.Type.TOTP, data={})
    Authenticator.objects.create(user=member.user, type=Authenticator.Type.RECOVERY_CODES, data={})
    services.create_api_key(current_secrets(), team, "live", created_by=member.user)
    revoked = services.create_api_key(current_secrets(), team, "gone", created_by=member.user).row
    services.revoke_api_key(team, revoked.pk)
    rows = queries.list_members(team).rows
    assert [row.membership for row in rows] == [owner, admin, member]
    assert [row.has_second_factor for row in rows] == [False, True, False]
    assert [row.live_api_keys for row in rows] == [0, 0, 1]


def test_each_change_is_written_down_with_before_and_after(team, owner, member):
    from agentcache.audit.models import AuditEvent

    services.change_role(team, member.pk, "viewer", by=owner, **BY_SYSTEM)
    row = AuditEvent.objects.get(action="member.role_changed")
    assert row.team_id == team.pk
    assert row.target_name == "member@example.com"
    assert (row.before["role"], row.after["role"]) == ("member", "viewer")
