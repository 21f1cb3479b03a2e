"""What can be wrong with limits."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, NotFound


class LimitSubjectNotFound(NotFound):
    """The team has no such member or key."""

    code = "limit_subject_not_found"


class InvalidLimit(BadRequest):
    """A limit is a whole number from 1 up, or null for none."""

    code = "invalid_limit"


class TooManyLimits(BadRequest):
    """A team may set up to 500 limits."""

    code = "too_many_limits"
