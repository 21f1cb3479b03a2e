"""What can be wrong with teams and keys."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, Forbidden, NotFound, Unauthenticated


class ApiKeyNotFound(NotFound):
    """The team has no such API key."""

    code = "api_key_not_found"


class InvalidName(BadRequest):
    """A name needs 1 to 64 printable characters."""

    code = "invalid_name"


class InvalidExpiry(BadRequest):
    """An expiry has to lie in the future."""

    code = "invalid_expiry"


class InvalidApiKey(Unauthenticated):
    """The AgentCache key is not valid."""

    code = "invalid_agentcache_key"


class TeamNotFound(NotFound):
    """You are in no such team."""

    code = "team_not_found"


class NoTeam(NotFound):
    """You are in no team; make one or accept an invitation."""

    code = "no_team"


class MissingPermission(Forbidden):
    """Your role in this team does not allow that."""

    code = "missing_permission"

    @classmethod
    def of(cls, permission: str) -> MissingPermission:
        """Name what is missing."""
        return cls(f"This needs the permission {permission}; ask an admin of the team.")


class PeopleOnly(Forbidden):
    """An API key may not do that; a member has to."""

    code = "people_only"
