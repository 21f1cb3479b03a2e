"""Teams, who belongs to them, and the keys that act for them."""

from __future__ import annotations

from agentcache.teams.models.api_keys import ApiKey, FormerApiKey
from agentcache.teams.models.invitations import Invitation, InvitationLink
from agentcache.teams.models.teams import Membership, Role, Team, TeamLogo

__all__ = ["ApiKey", "FormerApiKey", "Invitation", "InvitationLink", "Membership", "Role", "Team", "TeamLogo"]
