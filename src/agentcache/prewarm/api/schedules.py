"""The JSON API of schedules, under /api/cache/prewarm/schedules."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema, Status

from agentcache.audit.services import Actor
from agentcache.kit.money import usd
from agentcache.prewarm import queries, services
from agentcache.prewarm.api.batches import BatchShown, read_body
from agentcache.prewarm.given import read_schedule
from agentcache.prewarm.models import Schedule
from agentcache.prewarm.probing import dialects_of
from agentcache.prewarm.services import ScheduleEdits
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings

router = Router(tags=["Prewarm"])


class ScheduleShown(Schema):
    """A batch that is done again and again, and when."""

    id: str
    title: str
    #: Five fields, in the time of `timezone`.
    cron: str
    timezone: str
    is_paused: bool
    #: `top`, `expiring` or `invalidated`, chosen anew at each run; "" for the same requests each time.
    chosen_from: str
    #: Of those only what was made from this URL, and what has one of these tags; "" and none for all.
    chosen_source: str
    chosen_tags: list[str]
    #: How many, or how many at most where they are chosen.
    requests: int
    concurrency: int
    requests_per_second: float | None
    cost_cap_usd: str | None
    #: Null while it is paused.
    next_at: datetime | None
    last_at: datetime | None
    #: The batch that it started last; "" before the first, and when that could not be started.
    last_prewarm_id: str
    #: Why the last one could not be started.
    last_error: str
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: Schedule) -> ScheduleShown:
        """Show one."""
        cap = row.cost_cap_usd_nanos
        same = "id title cron timezone is_paused concurrency next_at last_at last_error created_by created_at".split()
        return cls(
            chosen_from=row.source,
            chosen_source=row.source_url,
            chosen_tags=row.tags,
            requests=row.total,
            requests_per_second=row.rate_per_second,
            cost_cap_usd=None if cap is None else usd(cap),
            last_prewarm_id=row.last_batch_id,
            **{name: getattr(row, name) for name in same},
        )


class SchedulesShown(Schema):
    """The team's schedules, the next one first and paused ones last."""

    schedules: list[ScheduleShown]


class ScheduleChanges(Schema, extra="forbid"):
    """What is to be changed; what is left out stays."""

    title: str | None = None
    cron: str | None = None
    timezone: str | None = None
    is_paused: bool | None = None


_READ, _RUN = TeamAuth(Permission.PREWARM_READ), TeamAuth(Permission.PREWARM_RUN)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["cron", "title"]}}},
    }
}


@router.get("", auth=_READ, response=SchedulesShown, operation_id="prewarm.schedules.list")
def list_schedules(request: TeamRequest) -> SchedulesShown:
    """Return the team's schedules."""
    rows = queries.schedules_of(request.team_context.team)
    return SchedulesShown(schedules=[ScheduleShown.of(row) for row in rows])


@router.post("", auth=_RUN, response={201: ScheduleShown}, operation_id="prewarm.schedules.create", openapi_extra=_BODY)
def create_schedule(request: TeamRequest) -> Status[ScheduleShown]:
    """Start a batch again and again: a batch's JSON object with `cron` and `timezone`."""
    requests, options, given = read_schedule(read_body(request), dialects_of(current_settings()))
    row = services.create_schedule(
        current_secrets(),
        request.team_context.team,
        requests,
        options,
        cron=given.cron,
        timezone=given.timezone,
        actor=Actor.of(request),
    )
    return Status(201, ScheduleShown.of(row))


@router.get("/{schedule_id}", auth=_READ, response=ScheduleShown, operation_id="prewarm.schedules.show")
def show_schedule(request: TeamRequest, schedule_id: str) -> ScheduleShown:
    """Return one schedule."""
    return ScheduleShown.of(queries.get_schedule(request.team_context.team, schedule_id))


@router.patch("/{schedule_id}", auth=_RUN, response=ScheduleShown, operation_id="prewarm.schedules.change")
def change_schedule(request: TeamRequest, schedule_id: str, body: ScheduleChanges) -> ScheduleShown:
    """Rename, move, pause or resume a schedule."""
    edits = ScheduleEdits(**body.model_dump())
    row = services.change_schedule(request.team_context.team, schedule_id, edits, actor=Actor.of(request))
    return ScheduleShown.of(row)


@router.post("/{schedule_id}/run", auth=_RUN, response={202: BatchShown}, operation_id="prewarm.schedules.run")
def run_schedule(request: TeamRequest, schedule_id: str) -> Status[BatchShown]:
    """Start its batch now, beside its times."""
    team = request.team_context.team
    batch = services.run_schedule_now(current_secrets(), team, schedule_id, actor=Actor.of(request))
    return Status(202, BatchShown.of(batch))


@router.delete("/{schedule_id}", auth=_RUN, response={204: None}, operation_id="prewarm.schedules.delete")
def delete_schedule(request: TeamRequest, schedule_id: str) -> Status[None]:
    """Delete a schedule with what it asks; batches that it started stay."""
    services.delete_schedule(request.team_context.team, schedule_id, actor=Actor.of(request))
    return Status(204, None)
