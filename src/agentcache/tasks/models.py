"""Tasks of teams, and what they said."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team


class TaskState(models.TextChoices):
    """How far a task is."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ENDED = (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)


class Task(models.Model):
    """One piece of work that a team watches. Its id is that of its job, too."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: What function does it, as `webhooks.redeliver`.
    kind = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    state = models.CharField(max_length=9, choices=TaskState, default=TaskState.QUEUED)
    #: What the function needs.
    payload = models.JSONField(default=dict)
    #: Where the function goes on; written in the transaction of each step.
    cursor = models.JSONField(default=dict)
    #: What came of it, for people and programs.
    result = models.JSONField(default=dict)
    #: Units of work; null while nobody knows how many there are.
    total = models.PositiveBigIntegerField(null=True, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    #: Of those that are done, how many failed.
    failed = models.PositiveBigIntegerField(default=0)
    rate_per_second = models.FloatField(null=True, blank=True)
    #: Of the worker that does it now; a step of any other changes nothing.
    run = models.CharField(max_length=32, blank=True, default="")
    #: Times that its function failed in a row.
    failures = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")
    #: Address or key of who started it; "" for the server.
    started_by = models.CharField(max_length=254, blank=True, default="")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    began_at = models.DateTimeField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["team", "-id"], name="tasks_of_team")]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ENDED

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None while nobody knows."""
        return None if self.total is None else min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def eta_seconds(self) -> float | None:
        """Return about how long it goes on, in seconds; None when that cannot be told."""
        if self.state != TaskState.RUNNING or self.total is None or not self.rate_per_second:
            return None
        return max(0.0, (self.total - self.done) / self.rate_per_second)

    def __str__(self) -> str:
        return self.title


class TaskLine(models.Model):
    """One line of what a task said."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="lines")
    at = models.DateTimeField(db_default=Now(), editable=False)
    text = models.CharField(max_length=500)

    class Meta:
        indexes = [models.Index(fields=["task", "id"], name="tasks_lines_of_task")]

    def __str__(self) -> str:
        return self.text
