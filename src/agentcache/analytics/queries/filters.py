"""Which part of a team's usage is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from agentcache.analytics.errors import InvalidFilter
from agentcache.analytics.rollups import FILTERED
from agentcache.gateway.ports import Outcome

#: In addresses: requests that name none, for example no agent.
NONE: Final = "(none)"
#: What figures can be broken down by; the last three stand alone, they take no filter but the outcome.
BREAKDOWNS: Final = (*FILTERED, "outcome", "status", "freshness", "reason")
_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Filters:
    """Values that requests must have; None takes any."""

    api_key: str | None = None
    member: str | None = None
    model: str | None = None
    namespace: str | None = None
    agent: str | None = None
    outcome: Outcome | None = None

    @property
    def dimensions(self) -> dict[str, str]:
        """The filters but for the outcome: dimension -> value."""
        return {name: value for name in FILTERED if (value := getattr(self, name)) is not None}

    @property
    def query(self) -> dict[str, str]:
        """The filters as an address has them."""
        found = {name: value or NONE for name, value in self.dimensions.items()}
        return found | ({"outcome": self.outcome.value} if self.outcome is not None else {})

    @property
    def by_outcome_only(self) -> Filters:
        """The filter by outcome alone."""
        return Filters(outcome=self.outcome)

    def without(self, name: str) -> Filters:
        """Return the same filters but this one."""
        return replace(self, **{name: None})

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """Return the filters that an address has. Raises `InvalidFilter`."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = query.get(field.name, "")
            if len(value) > _CHARS_MAX or "\x00" in value:
                raise InvalidFilter(f"{field.name} is not a name that requests can have.", param=field.name)
            if value:
                values[field.name] = "" if value == NONE else value
        outcome = values.pop("outcome", None)
        if outcome is None:
            return cls(**values)
        if outcome not in {one.value for one in Outcome}:
            known = ", ".join(one.value for one in Outcome)
            raise InvalidFilter(f"{outcome[:20]!r} is not an outcome; there are {known}.", param="outcome")
        return replace(cls(**values), outcome=Outcome(outcome))


NO_FILTERS: Final = Filters()


def check_breakdown(by: str, filters: Filters) -> None:
    """Raise `InvalidFilter` unless figures under these filters can be broken down so."""
    if by not in BREAKDOWNS:
        raise InvalidFilter(f"{by[:20]!r} is not one of {', '.join(BREAKDOWNS)}.", param="by")
    if by not in (*FILTERED, "outcome") and filters.dimensions:
        raise InvalidFilter(f"By {by} only without filters.", param="by")
