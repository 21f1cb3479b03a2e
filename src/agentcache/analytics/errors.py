"""What can be wrong with a question about usage."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest


class InvalidPeriod(BadRequest):
    """The period that was asked for cannot be read."""

    code = "invalid_period"


class BeyondRetention(BadRequest):
    """The period reaches further back than the team's plan, or what is kept."""

    code = "beyond_retention"


class InvalidFilter(BadRequest):
    """A filter or breakdown that was asked for does not exist."""

    code = "invalid_filter"
