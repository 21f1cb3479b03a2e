"""Tasks in the operator console."""

from __future__ import annotations

from django.contrib import admin

from agentcache.tasks.models import Task


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Jobs that teams watch. Payloads may hold what customers sent, and are not shown."""

    list_display = ("title", "team", "kind", "state", "done", "total", "failed", "created_at", "ended_at")
    list_filter = ("state", "kind")
    search_fields = ("id", "team__name", "team__id")
    list_select_related = ("team",)
    ordering = ("-created_at",)
    exclude = ("payload", "cursor", "run")
