"""The audit log in the operator console."""

from __future__ import annotations

from django.contrib import admin

from agentcache.audit.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Everything that was done on this server."""

    list_display = (
        "at",
        "action",
        "actor_email",
        "impersonator_id",
        "target_kind",
        "target_name",
        "team_id",
        "network",
    )
    list_filter = ("target_kind", "at")
    search_fields = ("action", "actor_email", "target_id", "target_name", "team_id")
    ordering = ("-at", "-id")
    exclude = ("session_id_hash",)
