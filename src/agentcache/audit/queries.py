"""Every read of the audit log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from agentcache.audit.models import AuditEvent

PAGE_ROWS = 50
_CSV_COLUMNS = (
    "at", "action", "actor_email", "actor_user_id", "actor_api_key_id", "impersonator_id", "network", "target_kind",
    "target_id", "target_name", "before", "after", "id",
)  # fmt: skip
#: What a spreadsheet would take for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """What to show; empty members do not narrow. `action` may end in a dot: all acts on that noun."""

    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some events, newest first, and where the next page begins (empty at the end)."""

    events: list[AuditEvent]
    next_cursor: str


def events_of(team_id: str | None, filters: AuditFilters | None = None) -> QuerySet[AuditEvent]:
    """Return a team's events, newest first; with None those of the whole server, for operators only."""
    filters = filters or AuditFilters()
    events = AuditEvent.objects.order_by("-at", "-id")
    if team_id is not None:
        events = events.filter(team_id=team_id)
    if filters.actor:
        found = Q(actor_email__icontains=filters.actor)
        events = events.filter(found | Q(actor_user_id=filters.actor) | Q(actor_api_key_id=filters.actor))
    if filters.action:
        match = {"action__startswith": filters.action} if filters.action.endswith(".") else {"action": filters.action}
        events = events.filter(**match)
    if filters.target:
        events = events.filter(Q(target_id=filters.target) | Q(target_name__icontains=filters.target))
    if filters.since is not None:
        events = events.filter(at__gte=filters.since)
    if filters.until is not None:
        events = events.filter(at__lt=filters.until)
    return events


def page_of(
    team_id: str | None, filters: AuditFilters | None = None, *, cursor: str = "", rows: int = PAGE_ROWS
) -> AuditPage:
    """Return one page; a cursor that is not ours begins at the newest."""
    events = events_of(team_id, filters)
    after = events_of(team_id).filter(pk=cursor).first() if cursor else None
    if after is not None:
        events = events.filter(Q(at__lt=after.at) | Q(at=after.at, id__lt=after.pk))
    found = list(events[: rows + 1])
    return AuditPage(found[:rows], found[rows - 1].pk if len(found) > rows else "")


def actions_of(team_id: str) -> list[str]:
    """Return the actions that occur in a team's log, in order."""
    return sorted(AuditEvent.objects.filter(team_id=team_id).values_list("action", flat=True).distinct())


def as_dict(event: AuditEvent) -> dict[str, object]:
    """Return an event as JSON members."""
    return {
        "id": event.pk,
        "at": event.at.isoformat(),
        "action": event.action,
        "actor": {
            "user_id": event.actor_user_id,
            "email": event.actor_email,
            "api_key_id": event.actor_api_key_id,
            "impersonator_id": event.impersonator_id,
            "network": event.network,
        },
        "target": {"kind": event.target_kind, "id": event.target_id, "name": event.target_name},
        "before": event.before,
        "after": event.after,
    }


def export_csv(events: QuerySet[AuditEvent]) -> Iterator[str]:
    """Yield the events as lines of CSV with a head; nothing that a spreadsheet would run."""
    yield _csv_line(_CSV_COLUMNS)
    for event in events.iterator(chunk_size=500):
        yield _csv_line([_csv_cell(getattr(event, column)) for column in _CSV_COLUMNS])


def export_jsonl(events: QuerySet[AuditEvent]) -> Iterator[str]:
    """Yield the events as lines of JSON."""
    for event in events.iterator(chunk_size=500):
        yield json.dumps(as_dict(event), ensure_ascii=False) + "\n"


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv_line(cells: object) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)  # type: ignore[arg-type]  # a list or tuple of texts
    return line.getvalue()
