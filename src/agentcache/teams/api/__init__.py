"""JSON API of teams, under /api/teams."""

from __future__ import annotations

# In this order: `roles` and `invitations` are no team ids.
from agentcache.teams.api import invitations as _invitations  # isort: skip
from agentcache.teams.api import teams as _teams  # isort: skip
from agentcache.teams.api import members as _members  # isort: skip
from agentcache.teams.api import audit as _audit  # isort: skip
from agentcache.teams.api.routes import router

#: Imported for what they add to the router.
MODULES = (_invitations, _teams, _members, _audit)

__all__ = ["router"]
