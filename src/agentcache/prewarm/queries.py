"""Every read of prewarming."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.prewarm.errors import BatchNotFound, ScheduleNotFound
from agentcache.prewarm.models import Batch, BatchRequest, Keeping, KeptRequest, ProviderCredential, Schedule
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Some batches, newest first, and where the next page begins (empty at the end)."""

    batches: list[Batch]
    next_cursor: str


def credentials_of(team: Team) -> list[ProviderCredential]:
    """Return the credentials that a team keeps, by provider."""
    return list(rows_of(team, ProviderCredential).order_by("provider"))


def find_credential(team: Team, provider: str) -> ProviderCredential | None:
    """Return the team's credential for a provider."""
    return rows_of(team, ProviderCredential).filter(provider=provider).first()


def batches_of(team: Team, *, cursor: str = "", rows: int = PAGE_ROWS) -> BatchPage:
    """Return one page of a team's batches."""
    found = rows_of(team, Batch).order_by("-id")
    if cursor:
        found = found.filter(pk__lt=cursor)
    batches = list(found[: rows + 1])
    return BatchPage(batches[:rows], batches[rows - 1].pk if len(batches) > rows else "")


def get_batch(team: Team, batch_id: str) -> Batch:
    """Return one batch of the team. Raises `BatchNotFound`."""
    batch = rows_of(team, Batch).filter(pk=batch_id).first()
    if batch is None:
        raise BatchNotFound(param="prewarm_id")
    return batch


def results_of(
    team: Team, batch: Batch, *, state: str = "", start: int = 0, rows: int = PAGE_ROWS
) -> tuple[list[BatchRequest], int | None]:
    """Return results from a place on, in the order of the batch, and the place to go on from (None at the end)."""
    found = rows_of(team, BatchRequest).filter(batch=batch, position__gte=start).order_by("position").defer("sealed")
    if state:
        found = found.filter(state=state)
    page = list(found[: rows + 1])
    return page[:rows], page[rows].position if len(page) > rows else None


def is_any_active(team: Team) -> bool:
    """Say whether a batch of the team waits or is under way."""
    return rows_of(team, Batch).filter(ended_at__isnull=True).exists()


def can_run(team: Team, batch: Batch) -> bool:
    """Say whether a dry run can be run for real: what it asked is still kept."""
    return (
        batch.is_dry_run and batch.is_ended and not rows_of(team, BatchRequest).filter(batch=batch, sealed=b"").exists()
    )


def schedules_of(team: Team) -> list[Schedule]:
    """Return the team's schedules, the next one first and paused ones last."""
    rows = list(rows_of(team, Schedule).defer("sealed").order_by("created_at", "id"))
    return sorted(rows, key=lambda row: (row.next_at is None, row.next_at or row.created_at))


def get_schedule(team: Team, schedule_id: str) -> Schedule:
    """Return one schedule of the team. Raises `ScheduleNotFound`."""
    row = rows_of(team, Schedule).defer("sealed").filter(pk=schedule_id).first()
    if row is None:
        raise ScheduleNotFound(param="schedule_id")
    return row


def keeps_requests(team_id: str) -> bool:
    """Say whether a team wants its requests kept."""
    return rows_of(Team(id=team_id), Keeping).exists()


def count_kept(team: Team) -> int:
    """Return how many requests of the team are kept."""
    return rows_of(team, KeptRequest).count()
