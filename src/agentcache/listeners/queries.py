"""Every read of listeners."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Q

from agentcache.listeners.errors import ListenerNotFound
from agentcache.listeners.models import EventKind, Listener, ListenerEvent
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

PAGE_ROWS = 50
_LATE_SHARE = 0.1
#: What is older than so many intervals is of little worth.
_EXPIRED_INTERVALS = 3


class State(enum.StrEnum):
    """How a listener is, in one word."""

    WAITING = "waiting"  # not read yet
    WATCHING = "watching"
    FAILING = "failing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class ListenerPage:
    """A slice of a team's listeners, newest first."""

    rows: Sequence[Listener]
    #: Continues it; "" at the end.
    cursor: str


@dataclass(frozen=True, slots=True)
class Counts:
    """A team's listeners by state."""

    all: int
    paused: int
    failing: int
    changed_lately: int


def get_listener(team: Team, listener_id: str) -> Listener:
    """Return a listener of the team; raise `ListenerNotFound`."""
    row = rows_of(team, Listener).filter(pk=listener_id).first()
    if row is None:
        raise ListenerNotFound
    return row


def source_changes(team: Team, since: datetime, *, limit: int) -> list[tuple[str, datetime]]:
    """Return which watched URLs were found changed since then, and when; the newest `limit`, newest first."""
    changes = ListenerEvent.objects.filter(
        listener__in=rows_of(team, Listener), kind=EventKind.CHANGED, at__gte=since
    ).order_by("-id")
    return list(changes.values_list("listener__url", "at")[:limit])


def list_listeners(
    team: Team, *, search: str = "", state: str = "", cursor: str = "", limit: int = PAGE_ROWS
) -> ListenerPage:
    """Return a page of the team's listeners; `search` is a part of the URL."""
    found = rows_of(team, Listener)
    if search:
        found = found.filter(url__icontains=search)
    if state:
        found = found.filter(_IN_STATE.get(state, _IN_NONE))
    if cursor:
        found = found.filter(pk__lt=cursor)
    # Ids sort by the time they were made.
    rows = list(found.order_by("-pk")[: limit + 1])
    return ListenerPage(rows[:limit], rows[limit - 1].pk if len(rows) > limit else "")


def counts(team: Team, now: datetime) -> Counts:
    """Return how many listeners the team has, and how they are."""
    found = rows_of(team, Listener).aggregate(
        all=Count("pk"),
        paused=Count("pk", filter=_IN_STATE[State.PAUSED]),
        failing=Count("pk", filter=_IN_STATE[State.FAILING]),
        changed_lately=Count("pk", filter=Q(last_changed_at__gte=now - timedelta(days=7))),
    )
    return Counts(**found)


def history(row: Listener, *, before: int = 0, limit: int = 20) -> list[ListenerEvent]:
    """Return what happened to a listener, newest first; `before` is the id of an event."""
    events = ListenerEvent.objects.filter(listener=row)
    if before:
        events = events.filter(id__lt=before)
    return list(events.order_by("-id")[:limit])


def last_change(row: Listener) -> ListenerEvent | None:
    """Return the last change that was seen."""
    return ListenerEvent.objects.filter(listener=row, kind=EventKind.CHANGED).order_by("-id").first()


def state_of(row: Listener) -> State:
    """Return how a listener is."""
    if row.paused_because:
        return State.PAUSED
    if row.failures_in_row:
        return State.FAILING
    return State.WATCHING if row.last_read_at is not None else State.WAITING


def freshness_of(row: Listener, now: datetime) -> str:
    """Return fresh, stale or expired: how old what we know of the source is, by its interval; "" before the first reading."""
    if row.last_read_at is None:
        return ""
    intervals = (now - row.last_read_at) / timedelta(seconds=row.check_interval_seconds)
    if intervals <= 1 + _LATE_SHARE:
        return "fresh"
    return "stale" if intervals <= _EXPIRED_INTERVALS else "expired"


def count_watched() -> int:
    """Return how many listeners are not paused, of all teams."""
    # Crosses tenants: it counts only.
    return Listener.objects.filter(paused_because="").count()


def count_overdue(now: datetime) -> int:
    """Return how many listeners wait longer than they should, of all teams: what operators are shown."""
    # Crosses tenants: it counts only.
    return Listener.objects.filter(paused_because="", next_check_at__lt=now - timedelta(minutes=2)).count()


_IN_NONE: Final = Q(pk__in=[])
_IN_STATE: Final[Mapping[str, Q]] = {
    State.PAUSED: ~Q(paused_because=""),
    State.FAILING: Q(paused_because="", failures_in_row__gt=0),
    State.WATCHING: Q(paused_because="", failures_in_row=0, last_read_at__isnull=False),
    State.WAITING: Q(paused_because="", failures_in_row=0, last_read_at__isnull=True),
}
