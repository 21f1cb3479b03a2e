"""Changes to who belongs to a team take turns, so that none is decided on what another is changing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from agentcache.teams.errors import MissingPermission, TeamNotFound
from agentcache.teams.models import Membership, Team
from agentcache.teams.permissions import Permission, permissions_of_member
from agentcache.teams.tenancy import rows_of


@contextmanager
def locked(team: Team) -> Iterator[Team]:
    """Hold the team for the transaction inside the block; raises `TeamNotFound` when it is gone.

    On PostgreSQL the row is locked; on SQLite the IMMEDIATE transaction is the lock.
    """
    with transaction.atomic():
        row = Team.objects.select_for_update().filter(pk=team.pk).first()
        if row is None:
            raise TeamNotFound
        yield row


def still_may(by: Membership, permission: Permission) -> Membership:
    """Return the acting member as of now; raise `MissingPermission` when they have lost the permission meanwhile.

    To be called inside `locked`.
    """
    row = rows_of(by.team, Membership).filter(pk=by.pk).select_related("user").first()
    if row is None:
        raise TeamNotFound
    if permission not in permissions_of(row):
        raise MissingPermission.of(permission)
    return row


def permissions_of(membership: Membership) -> frozenset[Permission]:
    """Return what a member may do."""
    return permissions_of_member(membership.role, is_owner=membership.is_owner, has_billing=membership.has_billing)
