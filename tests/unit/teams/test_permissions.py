import itertools

import pytest

from agentcache.gateway.ports import Scope
from agentcache.teams import permissions
from agentcache.teams.models import Role
from agentcache.teams.permissions import (
    BY_ROLE,
    BY_SCOPE,
    DESCRIPTIONS,
    Permission,
    grantable_scopes,
    matrix,
    permissions_of_member,
    permissions_of_scopes,
    rank,
)

VIEWER, MEMBER, ADMIN = BY_ROLE.values()


def test_the_table_has_a_column_for_every_role_and_scope_and_a_row_for_every_permission():
    assert set(BY_ROLE) == set(Role.values)
    assert set(BY_SCOPE) == set(Scope)
    assert set(DESCRIPTIONS) == set(Permission)
    assert [row.permission for row in matrix()] == list(Permission)


def test_every_permission_is_somebodys_and_a_higher_role_may_all_that_a_lower_one_may():
    assert VIEWER < MEMBER < ADMIN
    assert set(Permission) == ADMIN | permissions.OWNER_MARK | permissions.BILLING_MARK
    assert [rank(role) for role in ("viewer", "member", "admin")] == [0, 1, 2]


def test_a_viewer_changes_nothing():
    assert {permission.value.partition(".")[2] for permission in VIEWER} == {"read"}


@pytest.mark.parametrize("role", list(BY_ROLE))
def test_marks_add_to_any_role_and_take_nothing(role):
    plain = permissions_of_member(role, is_owner=False, has_billing=False)
    for is_owner, has_billing in itertools.product((False, True), repeat=2):
        marked = permissions_of_member(role, is_owner=is_owner, has_billing=has_billing)
        assert marked >= plain
        assert (Permission.BILLING_MANAGE in marked) == (is_owner or has_billing)
        assert (Permission.TEAM_DELETE in marked) == is_owner


@pytest.mark.parametrize("role", ["", "owner", "Admin", "root"])
def test_an_unknown_role_may_nothing_and_is_below_all(role):
    assert permissions_of_member(role, is_owner=False, has_billing=False) == frozenset()
    assert rank(role) < rank("viewer")


def test_no_key_manages_members_deletes_the_team_or_pays():
    everything = permissions_of_scopes(Scope)
    assert everything.isdisjoint({Permission.MEMBERS_MANAGE, Permission.TEAM_DELETE, Permission.BILLING_MANAGE})
    assert permissions_of_scopes([]) == frozenset()


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        ("viewer", {Scope.CACHE_READ, Scope.STATS_READ}),
        ("member", {Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ}),
        ("admin", set(Scope)),
    ],
)
def test_nobody_gives_a_key_a_scope_that_does_more_than_they_may(role, scopes):
    granted = permissions_of_member(role, is_owner=False, has_billing=False)
    assert grantable_scopes(granted) == scopes
    assert permissions_of_scopes(scopes) <= granted
