"""Reads of teams."""

from __future__ import annotations

from agentcache.teams.models import Team

#: Slug of the team that the first start makes.
LOCAL_SLUG = "local"


def find_local_team() -> Team | None:
    """Return the team that the first start made."""
    return Team.objects.filter(slug=LOCAL_SLUG).first()
