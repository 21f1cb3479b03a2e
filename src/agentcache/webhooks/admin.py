"""Webhooks in the operator console: where teams are told, and how that goes; never what they are told."""

from __future__ import annotations

from django.contrib import admin

from agentcache.webhooks.models import Delivery, Endpoint


@admin.register(Endpoint)
class EndpointAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Endpoints of teams."""

    list_display = (
        "url", "team", "is_enabled", "disabled_because", "failures_in_row", "failing_since", "paused_until", "created_at",
    )  # fmt: skip
    list_filter = ("is_enabled", "disabled_because")
    search_fields = ("id", "url", "team__name", "team__id")
    list_select_related = ("team",)
    ordering = ("-created_at",)


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What became of each message."""

    list_display = (
        "event_type", "team", "endpoint", "state", "ended_because", "tries", "last_status", "created_at", "next_try_at", "id",
    )  # fmt: skip
    list_filter = ("state", "event_type", "ended_because")
    search_fields = ("id", "message__id", "team__id", "endpoint__id")
    list_select_related = ("team", "endpoint")
    ordering = ("-created_at",)
    raw_id_fields = ("message",)
