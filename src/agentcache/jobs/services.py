"""Every write to the job table: enqueue, claim, renew, finish, fail."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import models, transaction
from django.db.models import F

from agentcache.jobs.models import Job

#: Seconds to the next try after the first, second, … failure; about 75 hours in all, as Standard Webhooks suggests.
RETRY_AFTER_SECONDS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
_LANE_CHARS_MAX = 80
MAX_ATTEMPTS = len(RETRY_AFTER_SECONDS) + 1


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that a worker has taken, with the claim that proves it."""

    id: str
    name: str
    payload: dict[str, object]
    claim: str
    #: 1 for the first try.
    attempt: int
    period_seconds: float | None
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many jobs of one lane a worker runs at once, and how many it runs now. Jobs without a lane are not bounded."""

    most: int | None = None
    running: Mapping[str, int] = field(default_factory=dict)

    def full(self) -> list[str]:
        """Return the lanes that have no room."""
        return [] if self.most is None else [lane for lane, jobs in self.running.items() if jobs >= self.most]


def at(seconds: float) -> datetime:
    """Return an aware time from Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def enqueue(job_id: str, name: str, payload: dict[str, object], due_at: datetime, *, lane: str = "") -> None:
    """Keep a job; part of the caller's transaction, if there is one."""
    Job.objects.create(id=job_id, name=name, payload=payload, due_at=due_at, lane=lane or _lane_of(payload))


def _lane_of(payload: Mapping[str, object]) -> str:
    """Return the lane of what calls a URL for a tenant: all that it calls at one host. "" for everything else."""
    tenant_id, url = payload.get("tenant_id"), payload.get("url")
    if not isinstance(tenant_id, str) or not isinstance(url, str):
        return ""
    return f"{tenant_id}:{url.partition('//')[2].partition('/')[0]}"[:_LANE_CHARS_MAX]


def keep_periodic(periods: dict[str, float], now: datetime) -> None:
    """Have exactly these jobs (name -> seconds) done again and again, by whichever worker comes first."""
    rows = [
        Job(id=f"periodic:{name}", name=name, due_at=now, period_seconds=period) for name, period in periods.items()
    ]
    with transaction.atomic():
        Job.objects.bulk_create(rows, ignore_conflicts=True)
        for row in rows:
            Job.objects.filter(id=row.id).exclude(period_seconds=row.period_seconds).update(
                period_seconds=row.period_seconds
            )
        Job.objects.filter(period_seconds__isnull=False).exclude(id__in=[row.id for row in rows]).delete()


def claim_due(
    names: Iterable[str], limit: int, now: datetime, lease_seconds: float, lanes: Lanes | None = None
) -> list[ClaimedJob]:
    """Take up to `limit` due jobs of these names, oldest first; nobody else gets them until the lease runs out."""
    lanes = lanes or Lanes()
    due = Job.objects.filter(failed_at__isnull=True, due_at__lte=now, name__in=list(names))
    due = due.exclude(lane__in=lanes.full()) if lanes.full() else due
    # Asked first without a lock, for an idle worker asks every second and SQLite has a single writer.
    if not due.exists():
        return []
    with transaction.atomic():
        # SKIP LOCKED is for PostgreSQL; on SQLite the IMMEDIATE transaction is the lock and this clause is left out.
        rows = _oldest(due.order_by("due_at").select_for_update(skip_locked=True), limit, lanes)
        rows = _without_worn_out(rows, now)
        claim = secrets.token_hex(16)
        Job.objects.filter(id__in=[row.id for row in rows]).update(
            claim=claim, attempts=F("attempts") + 1, due_at=now + timedelta(seconds=lease_seconds)
        )
    return [
        ClaimedJob(row.id, row.name, row.payload, claim, row.attempts + 1, row.period_seconds, row.lane) for row in rows
    ]


def renew(job: ClaimedJob, now: datetime, lease_seconds: float) -> bool:
    """Keep a job that takes long; False when another worker has it by now."""
    return _held(job).update(due_at=now + timedelta(seconds=lease_seconds)) == 1


def finish(job: ClaimedJob, now: datetime) -> bool:
    """Record that a job is done; False when the lease had run out and another worker has it."""
    if job.period_seconds is None:
        return _held(job).delete()[0] == 1
    next_start = now + timedelta(seconds=job.period_seconds)
    return _held(job).update(due_at=next_start, claim="", attempts=0, last_error="") == 1


def fail(job: ClaimedJob, now: datetime, error: str, *, give_up: bool = False, jitter: float = 0.0) -> datetime | None:
    """Record that a try failed and return when the next one is due, or None when it was the last.

    `jitter` is the share by which the pause is prolonged, so that what failed together does not return together.
    """
    due_at = None
    if job.period_seconds is not None:
        due_at = now + timedelta(seconds=job.period_seconds)
    elif job.attempt < MAX_ATTEMPTS and not give_up:
        due_at = now + timedelta(seconds=RETRY_AFTER_SECONDS[job.attempt - 1] * (1 + jitter))
    if due_at is None:
        _held(job).update(failed_at=now, claim="", last_error=error[:200])
    else:
        _held(job).update(due_at=due_at, claim="", last_error=error[:200])
    return due_at


def release(job: ClaimedJob, now: datetime) -> None:
    """Give back a job that was begun and not finished, without counting the try."""
    _held(job).update(due_at=now, claim="", attempts=F("attempts") - 1)


def postpone(job: ClaimedJob, due_at: datetime, error: str) -> None:
    """Have a job done again at a time that it chose itself; it counts its tries itself, too."""
    _held(job).update(due_at=due_at, claim="", attempts=0, last_error=error[:200])


def forget_tries(job_id: str) -> None:
    """Have a job that came on since its last try counted from the beginning: its workers do not die of it."""
    Job.objects.filter(pk=job_id, attempts__gt=1).update(attempts=1)


def retry(job_id: str) -> bool:
    """Have a job that failed done again from the beginning, at once; False when it is gone or in a worker's hands."""
    found = Job.objects.filter(pk=job_id, claim="")
    return found.update(due_at=datetime.now(UTC), attempts=0, failed_at=None) == 1


def cancel(job_id: str) -> bool:
    """Forget a job; False when it is gone, periodic or in a worker's hands."""
    return Job.objects.filter(pk=job_id, claim="", period_seconds__isnull=True).delete()[0] == 1


def exists(job_id: str) -> bool:
    """Say whether a job is still to be done, or was given up."""
    return Job.objects.filter(pk=job_id).exists()


def alive(job_ids: Collection[str]) -> set[str]:
    """Return those of these jobs that are still to be done."""
    return set(Job.objects.filter(pk__in=job_ids, failed_at__isnull=True).values_list("pk", flat=True))


def is_waiting(name: str) -> bool:
    """Say whether a job of this name is still to be done."""
    return Job.objects.filter(name=name, failed_at__isnull=True).exists()


def prune_failed(before: datetime) -> int:
    """Delete jobs given up before a time; return how many."""
    return Job.objects.filter(failed_at__lt=before).delete()[0]


def _oldest(due: models.QuerySet[Job], limit: int, lanes: Lanes) -> list[Job]:
    """Return the oldest jobs for which their lanes have room."""
    rows: list[Job] = []
    running = Counter(lanes.running)
    while len(rows) < limit:
        full = [] if lanes.most is None else [lane for lane, jobs in running.items() if jobs >= lanes.most]
        found = list(due.exclude(lane__in=full).exclude(id__in=[row.id for row in rows])[:limit])
        for row in found:
            if len(rows) < limit and (lanes.most is None or not row.lane or running[row.lane] < lanes.most):
                rows.append(row)
                if row.lane:
                    running[row.lane] += 1
        # Where a lane filled up, others may have jobs behind those that were passed over.
        if len(found) < limit:
            break
    return rows


def _without_worn_out(rows: list[Job], now: datetime) -> list[Job]:
    # A job whose last try never reported took its worker down with it; it must not do so for ever.
    worn_out = [row.id for row in rows if row.period_seconds is None and row.attempts >= MAX_ATTEMPTS]
    Job.objects.filter(id__in=worn_out).update(failed_at=now, claim="", last_error="the worker died at every try")
    return [row for row in rows if row.id not in worn_out]


def _held(job: ClaimedJob) -> models.QuerySet[Job]:
    return Job.objects.filter(id=job.id, claim=job.claim)
