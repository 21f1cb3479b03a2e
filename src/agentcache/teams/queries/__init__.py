"""Every read of teams, members and API keys beyond a plain get."""

from __future__ import annotations

from agentcache.teams.queries.api_keys import find_live_api_key, list_api_keys
from agentcache.teams.queries.members import (
    count_owners,
    find_membership,
    last_used_membership,
    list_members,
    memberships_of,
)
from agentcache.teams.queries.teams import LOCAL_SLUG, find_local_team

__all__ = [
    "LOCAL_SLUG",
    "count_owners",
    "find_live_api_key",
    "find_local_team",
    "find_membership",
    "last_used_membership",
    "list_api_keys",
    "list_members",
    "memberships_of",
]
