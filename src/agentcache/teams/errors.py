"""What can be wrong with teams and keys."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, NotFound


class ApiKeyNotFound(NotFound):
    """The team has no such API key."""

    code = "api_key_not_found"


class InvalidName(BadRequest):
    """A name needs 1 to 64 printable characters."""

    code = "invalid_name"


class InvalidExpiry(BadRequest):
    """An expiry has to lie in the future."""

    code = "invalid_expiry"
