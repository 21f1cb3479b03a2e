"""Semantic look-ups in the operator console."""

from __future__ import annotations

from django.contrib import admin

from agentcache.semantics.models import Judge, NamespaceSettings


@admin.register(NamespaceSettings)
class NamespaceSettingsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """How teams' namespaces look up by meaning."""

    list_display = ("team", "namespace", "mode", "verifier", "target", "changed_at")
    list_filter = ("mode", "verifier")
    search_fields = ("team__name", "team__slug", "=team__id", "namespace")
    list_select_related = ("team",)


@admin.register(Judge)
class JudgeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Which models teams have asked about near questions."""

    list_display = ("team", "namespace", "is_on", "provider", "model", "last_error", "changed_at")
    list_filter = ("is_on", "provider")
    search_fields = ("team__name", "team__slug", "=team__id", "namespace", "model")
    list_select_related = ("team",)
