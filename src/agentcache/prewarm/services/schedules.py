"""Schedules: make, change, pause, delete, and start the batches that are due."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone as clock

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.inside import InsideRequest
from agentcache.kit.errors import AgentCacheError
from agentcache.prewarm.errors import InvalidSchedule, RequestsNotKept, ScheduleNotFound, TooManySchedules
from agentcache.prewarm.given import CheckedRequest, Choice, Options, Source
from agentcache.prewarm.models import Batch, Schedule
from agentcache.prewarm.queries import keeps_requests
from agentcache.prewarm.services.batches import cap_of, start_batch
from agentcache.prewarm.services.keeping import choose
from agentcache.prewarm.timing import checked_cron, next_time
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

SCHEDULES_MAX = 20
#: All that one schedule asks, in bytes.
SEALED_BYTES_MAX = 4 * 1024 * 1024
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class ScheduleEdits:
    """What is to be changed; None stays as it is."""

    title: str | None = None
    cron: str | None = None
    timezone: str | None = None
    is_paused: bool | None = None


def create_schedule(
    secrets: ServerSecrets,
    team: Team,
    requests: Sequence[CheckedRequest] | Choice,
    options: Options,
    *,
    cron: str,
    timezone: str,
    actor: Actor,
) -> Schedule:
    """Make a schedule that starts such a batch again and again. Raises `InvalidSchedule`, `TooManySchedules`."""
    fields = checked_cron(cron, timezone)
    if not options.title:
        raise InvalidSchedule("A schedule has a title.", param="title")
    choice = requests if isinstance(requests, Choice) else None
    if choice is not None and not keeps_requests(team.pk):
        raise RequestsNotKept
    plain = b"" if isinstance(requests, Choice) else _packed(requests)
    if len(plain) > SEALED_BYTES_MAX:
        raise InvalidSchedule(
            f"The requests of a schedule have at most {SEALED_BYTES_MAX // 1024 // 1024} MiB.", param="requests"
        )
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        if rows_of(locked, Schedule).count() >= SCHEDULES_MAX:
            raise TooManySchedules
        row = Schedule(
            team=locked,
            title=options.title,
            cron=fields,
            timezone=timezone,
            source=choice.source.value if choice is not None else "",
            window_seconds=choice.window_seconds if choice is not None else 0,
            source_url=choice.source_url if choice is not None else "",
            tags=list(choice.tags) if choice is not None else [],
            total=requests.limit if isinstance(requests, Choice) else len(requests),
            concurrency=options.concurrency,
            rate_per_second=options.rate_per_second,
            cost_cap_usd_nanos=cap_of(options),
            output_tokens=options.output_tokens,
            next_at=next_time(fields, timezone, clock.now()),
            created_by=actor.shown,
        )
        if choice is None:
            row.sealed = secrets.seal_for_team(locked.pk, bytes(locked.wrapped_data_key), row.place, plain)
        else:
            row.sealed = b""
        row.save(force_insert=True)
        _note("created", row, actor, after=_told(row))
    return row


def change_schedule(team: Team, schedule_id: str, edits: ScheduleEdits, *, actor: Actor) -> Schedule:
    """Change, pause or resume a schedule. Raises `ScheduleNotFound`, `InvalidSchedule`."""
    with transaction.atomic():
        row = _locked(team, schedule_id)
        before = _told(row)
        if edits.title is not None:
            if not 1 <= len(edits.title) <= 100 or not edits.title.isprintable():
                raise InvalidSchedule("A title has 1 to 100 printable characters.", param="title")
            row.title = edits.title
        row.timezone = row.timezone if edits.timezone is None else edits.timezone
        row.cron = checked_cron(row.cron if edits.cron is None else edits.cron, row.timezone)
        row.is_paused = row.is_paused if edits.is_paused is None else edits.is_paused
        row.next_at = None if row.is_paused else next_time(row.cron, row.timezone, clock.now())
        row.save()
        _note("changed", row, actor, before=before, after=_told(row))
    return row


def delete_schedule(team: Team, schedule_id: str, *, actor: Actor) -> None:
    """Delete a schedule with what it asks; batches that it started stay. Raises `ScheduleNotFound`."""
    with transaction.atomic():
        row = _locked(team, schedule_id)
        _note("deleted", row, actor, before=_told(row))
        row.delete()


def run_schedule_now(secrets: ServerSecrets, team: Team, schedule_id: str, *, actor: Actor) -> Batch:
    """Start its batch beside the times of the schedule. Raises `ScheduleNotFound` and what `start_batch` raises."""
    with transaction.atomic():
        row = _locked(team, schedule_id)
        batch = _start(secrets, team, row, actor)
        row.last_at, row.last_batch_id, row.last_error = clock.now(), batch.pk, ""
        row.save()
    return batch


def start_due(secrets: ServerSecrets, now: datetime) -> int:
    """Start the batches of schedules that are due, once each however late it is; return how many."""
    due = list(Schedule.objects.filter(next_at__lte=now).order_by("next_at").values_list("pk", flat=True)[:_AT_ONCE])
    started = 0
    for pk in due:
        with transaction.atomic():
            row = Schedule.objects.select_for_update().filter(pk=pk, next_at__lte=now).first()
            if row is None:
                continue  # another worker was faster, or somebody paused it
            row.last_at, row.next_at = now, next_time(row.cron, row.timezone, now)
            try:
                # Within: what it wrote before it failed is taken back, and the schedule goes on.
                with transaction.atomic():
                    row.last_batch_id, row.last_error = _start(secrets, row.team, row, Actor.system()).pk, ""
                    started += 1
            except AgentCacheError as error:
                row.last_batch_id, row.last_error = "", error.message[:300]
            row.save()
    return started


def _start(secrets: ServerSecrets, team: Team, row: Schedule, actor: Actor) -> Batch:
    if row.source:
        choice = Choice(Source(row.source), row.window_seconds, row.total, row.source_url, tuple(row.tags))
        return start_batch(secrets, team, choose(secrets, team, choice), _options(row), actor=actor)
    plain = secrets.open_for_team(team.pk, bytes(team.wrapped_data_key), row.place, bytes(row.sealed))
    return start_batch(secrets, team, _unpacked(plain), _options(row), actor=actor)


def _options(row: Schedule) -> Options:
    return Options(
        row.title, row.concurrency, row.rate_per_second, row.cost_cap_usd_nanos, row.output_tokens, is_dry_run=False
    )


def _packed(requests: Sequence[CheckedRequest]) -> bytes:
    rows = [
        [one.model, one.request.dialect, one.request.path, one.request.headers, one.request.body.decode()]
        for one in requests
    ]
    return json.dumps(rows, ensure_ascii=False).encode()


def _unpacked(plain: bytes) -> list[CheckedRequest]:
    return [
        CheckedRequest(
            InsideRequest(dialect, path, tuple((name, value) for name, value in headers), body.encode()), model
        )
        for model, dialect, path, headers, body in json.loads(plain)
    ]


def _locked(team: Team, schedule_id: str) -> Schedule:
    row = rows_of(team, Schedule).select_for_update().filter(pk=schedule_id).first()
    if row is None:
        raise ScheduleNotFound(param="schedule_id")
    return row


def _told(row: Schedule) -> dict[str, object]:
    return {"title": row.title, "cron": row.cron, "timezone": row.timezone, "is_paused": row.is_paused}


def _note(
    what: str,
    row: Schedule,
    actor: Actor,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    audit.record(
        action=f"prewarm_schedule.{what}",
        actor=actor,
        team_id=row.team_id,
        target_kind="prewarm schedule",
        target_id=row.pk,
        target_name=row.title,
        before=before,
        after=after,
    )
