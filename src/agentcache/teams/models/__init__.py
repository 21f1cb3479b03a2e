"""Teams, who belongs to them, and the keys that act for them."""

from __future__ import annotations

from agentcache.teams.models.api_keys import ApiKey
from agentcache.teams.models.teams import Membership, Role, Team

__all__ = ["ApiKey", "Membership", "Role", "Team"]
