"""Every write to teams, their members and their API keys."""

from __future__ import annotations

from agentcache.teams.services.api_keys import (
    DEFAULT_SCOPES,
    USE_NOTED_EVERY,
    CreatedApiKey,
    create_api_key,
    revoke_api_key,
    touch_api_key,
)
from agentcache.teams.services.members import touch_membership
from agentcache.teams.services.teams import (
    FirstStart,
    create_personal_team,
    create_team,
    create_team_of,
    ensure_local_team,
)

__all__ = [
    "DEFAULT_SCOPES",
    "USE_NOTED_EVERY",
    "CreatedApiKey",
    "FirstStart",
    "create_api_key",
    "create_personal_team",
    "create_team",
    "create_team_of",
    "ensure_local_team",
    "revoke_api_key",
    "touch_api_key",
    "touch_membership",
]
