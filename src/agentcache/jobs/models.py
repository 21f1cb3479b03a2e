"""Rows of work to be done later."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Job(models.Model):
    """One piece of work. Gone once done, unless it is periodic.

    Taking a job moves `due_at` a lease ahead, so that the job of a worker that died comes back by itself.
    """

    id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=64)
    payload = models.JSONField(default=dict)
    #: What jobs get in each other's way for: of one lane, a worker runs a few at once however many are due. "" is no lane.
    lane = models.CharField(max_length=80, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    #: Of the worker that has it now; a worker whose lease ran out finds another value and lets go.
    claim = models.CharField(max_length=32, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    #: Kind and place of the last failure; never a message, which may hold what a provider or a customer sent.
    last_error = models.CharField(max_length=200, blank=True, default="")
    #: Seconds from one end to the next start, or null for work that is done once.
    period_seconds = models.FloatField(null=True)
    #: When it was given up. Kept for the operator.
    failed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], name="jobs_due", condition=models.Q(failed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"
