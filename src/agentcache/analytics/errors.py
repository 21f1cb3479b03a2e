"""What can be wrong with a question about usage."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest


class InvalidPeriod(BadRequest):
    """The period that was asked for cannot be read."""

    code = "invalid_period"


class InvalidFilter(BadRequest):
    """A filter or breakdown that was asked for does not exist."""

    code = "invalid_filter"
