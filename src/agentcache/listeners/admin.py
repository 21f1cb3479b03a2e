"""Listeners in the operator console."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.listeners import services
from agentcache.listeners.models import Host, Listener, ListenerEvent


@admin.register(Listener)
class ListenerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What teams watch, and how that goes."""

    list_display = (
        "url", "team", "paused_because", "failures_in_row", "failure", "last_checked_at", "next_check_at", "checks", "changes",
    )  # fmt: skip
    list_filter = ("paused_because", "kind", ("failure", admin.EmptyFieldListFilter))
    search_fields = ("id", "host", "team__name", "team__slug")
    list_select_related = ("team",)
    ordering = ("next_check_at",)
    #: Whom a team has told may be a secret of theirs.
    exclude = ("webhook_url", "body_digest", "text_digest", "fingerprint")
    actions = ("pause", "resume")

    @admin.action(description="Pause…")
    def pause(self, request: HttpRequest, queryset: QuerySet[Listener]) -> None:
        """These sources are not looked at until somebody resumes them; their teams see that they are paused."""
        for row in queryset.select_related("team"):
            services.pause(row.team, row.pk, timezone.now(), actor=Actor.of(request))

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[Listener]) -> None:
        """Look at these sources again, at once."""
        for row in queryset.select_related("team"):
            services.resume(row.team, row.pk, timezone.now(), actor=Actor.of(request))


@admin.register(ListenerEvent)
class ListenerEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What happened to listeners; what sources say is for their teams."""

    list_display = ("at", "kind", "listener", "times", "detail", "added", "removed", "invalidated")
    list_filter = ("kind",)
    search_fields = ("listener__id", "listener__host")
    list_select_related = ("listener",)
    exclude = ("diff", "selectors")
    ordering = ("-id",)


@admin.register(Host)
class HostAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Hosts that were asked within the last hour, and when they may be asked again."""

    list_display = ("name", "free_at", "delay_seconds")
    search_fields = ("name",)
    ordering = ("-free_at",)
