"""Jobs in the operator console."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agentcache.jobs import services
from agentcache.jobs.models import Job


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What is to be done, and what was given up. Payloads may hold what customers sent, and are not shown."""

    list_display = ("name", "id", "due_at", "attempts", "last_error", "failed_at", "period_seconds")
    list_filter = ("name", ("failed_at", admin.EmptyFieldListFilter))
    search_fields = ("id",)
    ordering = ("-created_at",)
    exclude = ("payload", "claim")
    actions = ("retry", "cancel")

    @admin.action(description="Try again now")
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Have these done as soon as a worker has time."""
        for job in queryset:
            if services.retry(job.pk):
                self.log_change(request, job, "job.retried")

    @admin.action(description="Cancel…")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """These are never done. Jobs that a worker has in hand, and periodic ones, are left alone."""
        for job in queryset:
            if services.cancel(job.pk):
                self.log_change(request, job, "job.cancelled")
