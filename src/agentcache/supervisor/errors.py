"""Why a server does not start."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError


class CannotStart(AgentCacheError):
    """The server cannot start."""

    code = "cannot_start"


class PortTaken(CannotStart):
    """Another program listens on this port."""

    code = "port_taken"


class DatabaseUnreachable(CannotStart):
    """The database does not answer."""

    code = "database_unreachable"
