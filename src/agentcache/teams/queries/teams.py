"""Reads of teams."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.teams.models import Invitation, Membership, Team, TeamLogo
from agentcache.teams.queries.members import live_api_keys
from agentcache.teams.tenancy import rows_of

#: Slug of the team that the first start makes.
LOCAL_SLUG = "local"


def find_local_team() -> Team | None:
    """Return the team that the first start made."""
    return Team.objects.filter(slug=LOCAL_SLUG).first()


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends with a team."""

    members: int
    live_api_keys: int
    open_invitations: int


def what_ends_with(team: Team) -> Ending:
    """Count what is lost when a team is deleted."""
    return Ending(
        members=rows_of(team, Membership).count(),
        live_api_keys=live_api_keys(team).count(),
        open_invitations=rows_of(team, Invitation).filter(accepted_at=None, cancelled_at=None).count(),
    )


def find_logo(team: Team) -> TeamLogo | None:
    """Return the team's picture."""
    return rows_of(team, TeamLogo).first()
