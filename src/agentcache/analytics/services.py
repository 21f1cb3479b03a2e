"""Every write of usage."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import msgspec
from django.db import connection, transaction

from agentcache.analytics import rollup_tables
from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.analytics.rollups import fold
from agentcache.gateway import ports
from agentcache.jobs import services as jobs
from agentcache.kit.ids import new_id
from agentcache.quotas import services as quotas
from agentcache.webhooks import services as webhooks

#: The members of an event in their order, as columns.
_COLUMNS = tuple(name.replace("tenant_id", "team_id") for name in ports.UsageEvent.__struct_fields__)
#: column -> most characters, for text; PostgreSQL refuses what is longer.
_TEXT_CHARS_MAX = {
    field.attname: field.max_length for field in UsageEvent._meta.concrete_fields if field.max_length is not None
}
#: Job: bring events into the roll-ups that are not in them. Also enqueued by a migration.
BACK_FILL = "usage.back_fill"
_BIGINT_MAX = 2**63 - 1
#: As short as the shortest text column, so that all of an event's texts together fit any of them.
_PLAIN_CHARS_MAX = min(_TEXT_CHARS_MAX[name] for name in ("model", "agent", "namespace", "endpoint", "dialect"))
_REASON_CHARS_MAX = _TEXT_CHARS_MAX["reason"]

#: SQLite takes 32,766 parameters in one statement.
_ROWS_PER_STATEMENT = 512
_SEEN = rollup_tables.new_seen()


@cache
def insert_events(rows: int, vendor: str) -> str:
    """Return the statement that keeps so many events and returns the ids that are new.

    An id that is there already is left as it is, so a repeated batch changes nothing.
    """
    return (
        f"INSERT INTO {UsageEvent._meta.db_table} ({', '.join(_COLUMNS)}) "
        f"{rollup_tables.rows_given(UsageEvent, _COLUMNS, rows, vendor)} ON CONFLICT (id) DO NOTHING RETURNING id"
    )


def record_events(events: list[ports.UsageEvent]) -> None:
    """Keep usage events and add them to the roll-ups, all or none, each exactly once by its id."""
    # The first of two events with one id counts, as it does when they come in two batches.
    rows = list({row[0]: row for row in map(_as_row, reversed(events))}.values())
    rows.reverse()
    with transaction.atomic():
        new = _insert(rows)
        kept = [row for row in rows if row[0] in new]
        rollup_tables.keep(fold(kept, _COLUMNS, _SEEN))
        quotas.count_usage(kept, _COLUMNS)
        webhooks.tell_of_hits(kept, _COLUMNS)


def _insert(rows: list[tuple[str | int, ...]]) -> set[str]:
    """Add the rows that are not there yet; return their ids."""
    new: set[str] = set()
    # Plain SQL: model instances would cost ten times as much, in the process that serves hits. And many rows at once:
    # after each statement the driver waits for its turn to run Python again, which a busy server gives it late.
    for part in rollup_tables.parts(rows, _ROWS_PER_STATEMENT):
        statement = insert_events(len(part) if connection.vendor == "sqlite" else 0, connection.vendor)
        new.update(row[0] for row in rollup_tables.execute(statement, rollup_tables.values_given(part)))
    return new


def record_gap(worker: str, lost: int) -> None:
    """Note that a worker was killed with `lost` usage events that it had taken and not yet handed on."""
    UsageGap.objects.create(worker=worker[:64], lost=lost)


def enqueue_back_fill() -> bool:
    """Have events that are not in the roll-ups brought in; False when that is waiting to be done already."""
    if jobs.is_waiting(BACK_FILL):
        return False
    jobs.enqueue(new_id(), BACK_FILL, {}, datetime.now(UTC))
    return True


def _as_row(event: ports.UsageEvent) -> tuple[str | int, ...]:
    row = msgspec.structs.astuple(event)
    # Nearly every event is plain; one look at it costs a fifth of looking at each of its members.
    texts = f"{event.model}{event.agent}{event.namespace}{event.endpoint}{event.dialect}"
    counts = (event.input_tokens, event.output_tokens, event.cost_usd_nanos, event.saved_usd_nanos)
    is_plain = len(texts) <= _PLAIN_CHARS_MAX and texts.isascii() and texts.isprintable()
    # Tags and sources were bounded where they come from; what is told of few calls may cost the second look.
    is_plain = is_plain and len(event.reason) <= _REASON_CHARS_MAX and not event.tags and not event.sources
    if is_plain and min(counts) >= 0 and max(counts) <= _BIGINT_MAX:
        return row
    return tuple(map(_storable, _COLUMNS, row))


def _storable(column: str, value: str | int) -> str | int:
    # Model and agent names come from callers. What a database would refuse must not hold up the whole batch for ever.
    if isinstance(value, int):
        return max(-_BIGINT_MAX, min(_BIGINT_MAX, value))
    if not (value.isascii() and value.isprintable()):
        value = value.replace("\x00", "�").encode("utf-8", "replace").decode()
    return value[: _TEXT_CHARS_MAX[column]]
