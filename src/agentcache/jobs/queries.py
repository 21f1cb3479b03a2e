"""Every read of jobs: whether somebody works on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentcache.jobs.models import Job

#: A job that waits this long beyond its time waits for a worker that is not there, or has too much to do.
OVERDUE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """What the rows tell of the workers."""

    #: When a periodic job was done last; None when none ever was.
    seen_at: datetime | None
    #: Since when the job that waits longest is overdue; None when none is.
    overdue_since: datetime | None


def worker_sign(now: datetime) -> WorkerSign:
    """Return when a worker was there last, by the jobs that are done again and again."""
    waiting = Job.objects.filter(failed_at__isnull=True)
    periodic = waiting.filter(period_seconds__isnull=False, claim="").values_list(
        "due_at", "period_seconds", "created_at"
    )
    done = [
        due_at - timedelta(seconds=period or 0)
        for due_at, period, created_at in periodic
        # Never done yet: still due when it was made.
        if due_at - timedelta(seconds=period or 0) >= created_at
    ]
    # In a lane they wait for each other: behind a receiver that hangs, not for a worker.
    late = waiting.filter(due_at__lt=now - OVERDUE, lane="")
    overdue = late.order_by("due_at").values_list("due_at", flat=True).first()
    return WorkerSign(max(done, default=None), overdue)
