"""How often each entry of the cache answered."""

from __future__ import annotations

from typing import Final

from django.db.models import Sum

from agentcache.analytics.models import UsageEvent
from agentcache.analytics.rollups import HIT_OUTCOMES
from agentcache.gateway.ports import EntryHits, Outcome
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: So many of the newest hits are read, and so many entries told apart: half a second with ten million events kept.
HITS_READ_MAX: Final = 200_000
ENTRIES_MAX: Final = 50_000


def entry_hits(team: Team, since_ms: int) -> EntryHits:
    """Count a team's hits by entry, from `since_ms` on or, where there are too many, from as far back as they are read."""
    hits = rows_of(team, UsageEvent).filter(at_ms__gte=since_ms, outcome__in=HIT_OUTCOMES).exclude(entry_key="")
    beyond = list(hits.order_by("-at_ms").values_list("at_ms", flat=True)[HITS_READ_MAX : HITS_READ_MAX + 1])
    if beyond:
        # The requests of that very millisecond are left out: not all of them may be among those that are read.
        since_ms = beyond[0] + 1
        hits = hits.filter(at_ms__gte=since_ms)
    by_entry = hits.values("entry_key").annotate(number=Sum("requests"), saved=Sum("saved_usd_nanos"))
    rows = list(by_entry.order_by("-number").values_list("entry_key", "number", "saved")[: ENTRIES_MAX + 1])
    return EntryHits(
        {key: (number, saved) for key, number, saved in rows[:ENTRIES_MAX]}, since_ms, len(rows) <= ENTRIES_MAX
    )


def near_answer(team: Team, request_id: str) -> str | None:
    """Return the hexadecimal key of the entry that answered a request to a near question; None where none is known."""
    found = rows_of(team, UsageEvent).filter(id=request_id, outcome=Outcome.SEMANTIC.value)
    return found.values_list("entry_key", flat=True).first() or None
