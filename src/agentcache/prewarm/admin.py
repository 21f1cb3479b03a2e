"""Prewarming in the operator console."""

from __future__ import annotations

from django.contrib import admin

from agentcache.prewarm.models import Batch, ProviderCredential, Schedule


@admin.register(ProviderCredential)
class ProviderCredentialAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """For which providers teams keep credentials; never the credentials."""

    list_display = ("provider", "team", "last_four", "set_by", "set_at", "probe_outcome", "probed_at")
    list_filter = ("provider", "probe_outcome")
    search_fields = ("team__name", "team__id")
    list_select_related = ("team",)
    exclude = ("sealed",)


@admin.register(Batch)
class BatchAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What teams prewarmed; never what they asked."""

    list_display = (
        "id",
        "team",
        "state",
        "is_dry_run",
        "total",
        "warmed",
        "skipped",
        "failed",
        "created_at",
        "ended_at",
    )
    list_filter = ("state", "is_dry_run")
    search_fields = ("id", "team__name", "team__id")
    list_select_related = ("team",)
    ordering = ("-created_at",)


@admin.register(Schedule)
class ScheduleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What teams prewarm again and again; never what they ask."""

    list_display = ("title", "team", "cron", "timezone", "is_paused", "next_at", "last_at", "last_error")
    list_filter = ("is_paused",)
    search_fields = ("id", "title", "team__name", "team__id")
    list_select_related = ("team",)
    exclude = ("sealed",)
