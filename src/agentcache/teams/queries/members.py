"""Reads of who belongs to which team."""

from __future__ import annotations

from django.db.models import F, Q, QuerySet

from agentcache.accounts.models import User
from agentcache.teams.models import Membership, Team
from agentcache.teams.tenancy import rows_of


def find_membership(user: User, team_id_or_slug: str) -> Membership | None:
    """Return the user's membership of a team, with the team. None for a team that is not there, or not theirs."""
    is_named = Q(team_id=team_id_or_slug) | Q(team__slug=team_id_or_slug)
    # By id first: a team whose slug is another's id must not stand in for it.
    found = sorted(memberships_of(user).filter(is_named), key=lambda row: row.team_id != team_id_or_slug)
    return found[0] if found else None


def last_used_membership(user: User) -> Membership | None:
    """Return the membership that the user used last, else the oldest one."""
    return memberships_of(user).order_by(F("last_seen_at").desc(nulls_last=True), "id").first()


def memberships_of(user: User) -> QuerySet[Membership]:
    """Return all memberships of a user, with their teams, by team name."""
    return Membership.objects.filter(user=user).select_related("team").order_by("team__name", "team_id")


def list_members(team: Team) -> QuerySet[Membership]:
    """Return a team's members with their users: owners first, then by role and name."""
    return rows_of(team, Membership).select_related("user").order_by("-is_owner", "role", "user__name", "user__email")


def count_owners(team: Team) -> int:
    """Return how many owners a team has."""
    return rows_of(team, Membership).filter(is_owner=True).count()
