"""What can be wrong with listeners."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, Forbidden, NotFound


class ListenerNotFound(NotFound):
    """The team has no such listener."""

    code = "listener_not_found"


class InvalidListener(BadRequest):
    """A listener needs a URL and an interval."""

    code = "invalid_listener"


class OwnAddress(BadRequest):
    """A listener cannot watch this server itself."""

    code = "own_address"


class IntervalTooShort(BadRequest):
    """The plan does not allow so short an interval."""

    code = "interval_too_short"


class RefreshNotAllowed(Forbidden):
    """Having answers asked for anew costs the team money: that needs the permission to prewarm."""

    code = "refresh_not_allowed"


class ListenerExists(AgentCacheError):
    """The team watches this already."""

    code = "listener_exists"
    status = 409


class ListenerPaused(AgentCacheError):
    """The listener is paused: resume it, and it is checked at once."""

    code = "listener_paused"
    status = 409


class TooManyListeners(Forbidden):
    """The plan does not allow more listeners."""

    code = "too_many_listeners"
