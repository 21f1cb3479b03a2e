"""Reads of single requests, newest first, and of what is known about the data itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.db.models import Sum

from agentcache.analytics.errors import InvalidFilter
from agentcache.analytics.models import UsageEvent, UsageGap, UsageTotal
from agentcache.analytics.queries.filters import NO_FILTERS, Filters
from agentcache.analytics.rollups import Grain
from agentcache.gateway.meter import FLUSH_SECONDS
from agentcache.gateway.ports import Outcome
from agentcache.gateway.usage_spool import spool_dir, waiting_files
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: With filters, so many of the newest requests are looked through; how far that reached is said.
SEARCHED_MAX: Final = 20_000
PAGE_ROWS: Final = 50
_COLUMNS: Final = {"api_key": "api_key_id", "member": "user_id"}


@dataclass(frozen=True, slots=True)
class EventFilters:
    """What single requests are looked for by."""

    common: Filters = NO_FILTERS
    #: A status, or a class of them such as `4xx`.
    status: str = ""
    entry_key: str = ""

    @property
    def conditions(self) -> dict[str, Any]:
        """The filters as conditions on columns. Raises `InvalidFilter`."""
        found: dict[str, Any] = {_COLUMNS.get(name, name): value for name, value in self.common.dimensions.items()}
        if self.common.outcome is not None:
            found["outcome"] = self.common.outcome.value
        if self.entry_key:
            found["entry_key"] = self.entry_key
        if self.status:
            found |= _status(self.status)
        return found


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some requests, newest first."""

    rows: tuple[UsageEvent, ...]
    #: Continues the list with `before`; "" at its end.
    cursor: str
    #: Whether the search ended at `SEARCHED_MAX` and not at the end.
    is_cut: bool = False


def list_events(
    team: Team, filters: EventFilters, *, before: str = "", after: str = "", limit: int = PAGE_ROWS
) -> EventPage:
    """Return requests, newest first; `before` continues a page, `after` gives only newer ones than a request's mark."""
    rows = rows_of(team, UsageEvent).order_by("-at_ms", "-id")
    if before:
        at_ms, known = _mark(before)
        rows = rows.filter(at_ms__lte=at_ms).exclude(at_ms=at_ms, id__gte=known)
    if after:
        at_ms, known = _mark(after)
        rows = rows.filter(at_ms__gte=at_ms).exclude(at_ms=at_ms, id__lte=known)
    conditions = filters.conditions
    if not conditions:
        found = list(rows[: limit + 1])
        return EventPage(tuple(found[:limit]), mark_of(found[limit - 1]) if len(found) > limit else "")
    # Looks at a bounded number of rows by the index on time: a filter that nothing fits must not read them all.
    last = list(rows[SEARCHED_MAX - 1 : SEARCHED_MAX])
    # Bounded by time and not by id: SQLite would look at every request of the team whether its id is among those.
    searched = rows.filter(at_ms__gte=last[0].at_ms) if last else rows
    found = list(searched.filter(**conditions)[: limit + 1])
    if len(found) > limit:
        return EventPage(tuple(found[:limit]), mark_of(found[limit - 1]))
    return EventPage(tuple(found), mark_of(last[0]) if last else "", is_cut=bool(last))


def find_event(team: Team, request_id: str) -> UsageEvent | None:
    """Return one request, or None."""
    return rows_of(team, UsageEvent).filter(pk=request_id).first()


def has_events(team: Team) -> bool:
    """Say whether the team has ever made a request."""
    # Sums of days stay when single requests are pruned; a request is there before it is in them.
    of_days = rows_of(team, UsageTotal).filter(dimension="", grain=Grain.DAY)
    return of_days.exists() or rows_of(team, UsageEvent).exists()


def has_ended_so(team: Team, outcomes: Collection[Outcome]) -> bool:
    """Say whether a request of the team ever ended in one of these ways; sums outlive single events."""
    ended = [outcome.value for outcome in outcomes]
    return rows_of(team, UsageTotal).filter(dimension="", grain=Grain.DAY, outcome__in=ended).exists()


def mark_of(event: UsageEvent) -> str:
    """Return a request's place in the list, for `before` and `after`."""
    return f"{event.at_ms}-{event.pk}"


def lost_events(since: datetime) -> int:
    """Return how many usage events of the whole server are known to be missing."""
    lost = UsageGap.objects.filter(detected_at__gte=since).aggregate(lost=Sum("lost"))["lost"]
    return int(lost or 0)


def data_as_of(data_dir: Path, now: float) -> float:
    """Return up to when (Unix seconds) the figures hold every request that this machine has served."""
    waiting = waiting_files(spool_dir(data_dir))
    handed_on = min(now, int(waiting[0].name.partition("-")[0]) / 1000) if waiting else now
    # Before it hands requests on, a serving process gathers them for so long.
    return handed_on - FLUSH_SECONDS


def _mark(text: str) -> tuple[int, str]:
    number, _, known = text.partition("-")
    if not (number.isascii() and number.isdigit() and len(number) < 17):
        raise InvalidFilter("This is not a place in the list of requests.", param="before")
    return int(number), known


def _status(text: str) -> dict[str, int]:
    if len(text) == 3 and text[0] in "12345" and text[1:] == "xx":
        return {"status__gte": int(text[0]) * 100, "status__lt": int(text[0]) * 100 + 100}
    if text.isascii() and text.isdigit() and len(text) == 3:
        return {"status": int(text)}
    raise InvalidFilter(f"{text[:10]!r} is neither a status (429) nor a class of them (4xx).", param="status")
