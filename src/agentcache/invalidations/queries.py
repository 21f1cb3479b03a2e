"""What was invalidated, as the audit log has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agentcache.audit.models import AuditEvent
from agentcache.audit.queries import AuditFilters, events_of
from agentcache.engine.entries import EntryMeta, Selector
from agentcache.engine.stores.selection import matches
from agentcache.teams.models import Team

#: How an invalidation is written down.
ACTION: Final = "cache.invalidated"
TARGET_KIND: Final = "cache"
#: Criterion -> what it is called on pages, in the order in which they are shown.
CRITERIA: Final[Mapping[str, str]] = {
    "pattern": "Pattern",
    "namespace": "Namespace",
    "tags": "Tags",
    "url": "Source",
    "model": "Model",
    "provider": "Provider",
    "older_than": "Older than",
    "olderThan": "Older than, ms",
    "keys": "Cache keys",
    "all": "Everything",
}
#: So many of the newest invalidations are looked through for those that meant entries like one.
LOOKED_THROUGH_MAX: Final = 200
_DESCRIBED_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class PastInvalidation:
    """An invalidation as it is listed."""

    event: AuditEvent

    @property
    def id(self) -> str:
        """Names it."""
        return self.event.target_id

    @property
    def at(self) -> datetime:
        """When it was written down."""
        return self.event.at

    @property
    def facts(self) -> dict[str, Any]:
        """Criteria and what was met."""
        return self.event.after or {}

    @property
    def criteria(self) -> list[tuple[str, str]]:
        """What was asked for: name and value."""
        return [(title, _shown(self.facts[name])) for name, title in CRITERIA.items() if name in self.facts]

    @property
    def is_soft(self) -> bool:
        """Whether entries were marked stale, not removed."""
        return bool(self.facts.get("marked_stale"))

    @property
    def entries(self) -> int:
        """How many were met."""
        return int(self.facts.get("entries", 0))

    @property
    def who(self) -> str:
        """Who asked for it: an address, an API key's id, or nobody."""
        return self.event.actor_email or self.event.actor_api_key_id or "the server"

    @property
    def selector(self) -> Selector:
        """What it means of entries like another: all criteria but age and keys, which tell nothing of those."""
        facts = self.facts
        return Selector(
            namespace=facts.get("namespace"),
            tags=tuple(facts.get("tags", ())),
            source=facts.get("url"),
            pattern=facts.get("pattern"),
            dialect=facts.get("provider"),
            model=facts.get("model"),
        )


def describe(criteria: Mapping[str, Any]) -> str:
    """Say in a line what was asked for."""
    said = [f"{title.lower()} {_shown(criteria[name])}" for name, title in CRITERIA.items() if name in criteria]
    return "; ".join(said)[:_DESCRIBED_CHARS_MAX]


def find_invalidation(team: Team, invalidation_id: str) -> PastInvalidation | None:
    """Return one of a team's invalidations."""
    event = events_of(team.pk, AuditFilters(action=ACTION)).filter(target_id=invalidation_id).first()
    return PastInvalidation(event) if event is not None else None


def list_invalidations(team: Team, limit: int) -> list[PastInvalidation]:
    """Return a team's invalidations, newest first."""
    return [PastInvalidation(event) for event in events_of(team.pk, AuditFilters(action=ACTION))[:limit]]


def that_meant(team: Team, key: bytes, meta: EntryMeta, limit: int) -> list[PastInvalidation]:
    """Return the newest invalidations that would mean an entry like this, whatever its age."""
    found = []
    for one in list_invalidations(team, LOOKED_THROUGH_MAX):
        if key.hex() in one.facts["keys"] if "keys" in one.facts else matches(one.selector, key, meta):
            found.append(one)
            if len(found) == limit:
                break
    return found


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:3]))
        return f"{shown} and {len(value) - 3} more" if len(value) > 3 else shown
    return str(value)
