"""Every write of usage."""

from __future__ import annotations

import msgspec
from django.db import connection, transaction

from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.gateway import ports

#: The members of an event in their order, as columns.
_COLUMNS = tuple(name.replace("tenant_id", "team_id") for name in ports.UsageEvent.__struct_fields__)
#: column -> most characters, for text; PostgreSQL refuses what is longer.
_TEXT_CHARS_MAX = {
    field.attname: field.max_length for field in UsageEvent._meta.concrete_fields if field.max_length is not None
}
_BIGINT_MAX = 2**63 - 1
_PRUNE_ROWS = 5_000

#: SQLite takes 32,766 parameters in one statement, PostgreSQL 65,535.
_ROWS_PER_STATEMENT = 500
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"


def insert_events(rows: int) -> str:
    """Return the statement that keeps so many events, the same on both databases.

    An id that is there already is left as it is, so a repeated batch changes nothing.
    """
    return (
        f"INSERT INTO {UsageEvent._meta.db_table} ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of our own columns
        f"VALUES {', '.join([_ROW] * rows)} ON CONFLICT (id) DO NOTHING"
    )


def record_events(events: list[ports.UsageEvent]) -> None:
    """Keep usage events, all or none, each exactly once by its id."""
    rows = [_as_row(event) for event in events]
    # Plain SQL: model instances would cost ten times as much, in the process that serves hits. And many rows at once:
    # after each statement the driver waits for its turn to run Python again, which a busy server gives it late.
    with transaction.atomic(), connection.cursor() as cursor:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            part = rows[start : start + _ROWS_PER_STATEMENT]
            cursor.execute(insert_events(len(part)), [value for row in part for value in row])


def record_gap(worker: str, lost: int) -> None:
    """Note that a worker was killed with `lost` usage events that it had taken and not yet handed on."""
    UsageGap.objects.create(worker=worker[:64], lost=lost)


def prune_events(before_ms: int) -> int:
    """Delete events older than a time (Unix milliseconds), a few thousand at once so that writers get their turn."""
    deleted = 0
    while True:
        oldest = UsageEvent.objects.filter(at_ms__lt=before_ms).order_by("at_ms").values("pk")[:_PRUNE_ROWS]
        count = UsageEvent.objects.filter(pk__in=oldest).delete()[0]
        deleted += count
        if count < _PRUNE_ROWS:
            return deleted


def _as_row(event: ports.UsageEvent) -> tuple[str | int, ...]:
    return tuple(map(_storable, _COLUMNS, msgspec.structs.astuple(event)))


def _storable(column: str, value: str | int) -> str | int:
    # Model and agent names come from callers. What a database would refuse must not hold up the whole batch for ever.
    if isinstance(value, int):
        return max(-_BIGINT_MAX, min(_BIGINT_MAX, value))
    if not (value.isascii() and value.isprintable()):
        value = value.replace("\x00", "�").encode("utf-8", "replace").decode()
    return value[: _TEXT_CHARS_MAX[column]]
