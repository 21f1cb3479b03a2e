"""Writes to who belongs to a team."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from agentcache.accounts.models import User
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.tenancy import rows_of


def add_owner(team: Team, user: User) -> Membership:
    """Make the user of a new team its owner, with every permission."""
    return Membership.objects.create(team=team, user=user, role=Role.ADMIN, is_owner=True, has_billing=True)


def touch_membership(membership: Membership, at: datetime) -> None:
    """Note that a member used the team, to the minute, unless a later use is known."""
    minute = at.replace(second=0, microsecond=0)
    if membership.last_seen_at is not None and membership.last_seen_at >= minute:
        return
    is_later = Q(last_seen_at__isnull=True) | Q(last_seen_at__lt=minute)
    rows_of(membership.team, Membership).filter(is_later, pk=membership.pk).update(last_seen_at=minute)
