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
from agentcache.teams.services.teams import FirstStart, create_team, ensure_local_team

__all__ = [
    "DEFAULT_SCOPES",
    "USE_NOTED_EVERY",
    "CreatedApiKey",
    "FirstStart",
    "create_api_key",
    "create_team",
    "ensure_local_team",
    "revoke_api_key",
    "touch_api_key",
]
