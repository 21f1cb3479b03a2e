"""Policies in the operator console."""

from __future__ import annotations

from django.contrib import admin

from agentcache.policies.models import PolicyVersion


@admin.register(PolicyVersion)
class PolicyVersionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Every version of every team's policies; the newest of a team is in force."""

    list_display = ("team", "number", "note", "created_at")
    search_fields = ("team__name", "team__slug", "=team__id")
    list_select_related = ("team",)
