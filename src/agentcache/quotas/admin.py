"""Plans and limits in the operator console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agentcache.audit.services import Actor
from agentcache.quotas import services
from agentcache.quotas.models import Limit, TeamPlan
from agentcache.quotas.plans import PlanName


@admin.register(TeamPlan)
class TeamPlanAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Which team is on which plan; a team that is not here is self-hosted, without limits."""

    list_display = ("team", "plan", "is_hard", "serves_hits_over_quota", "since")
    list_filter = ("plan",)
    search_fields = ("team__name", "team__slug", "team__id")
    list_select_related = ("team",)
    editable = ("plan", "is_hard", "serves_hits_over_quota")
    may_add = True
    audits_itself = True
    autocomplete_fields = ("team",)

    def get_readonly_fields(self, request: HttpRequest, obj: TeamPlan | None = None) -> tuple[str, ...]:
        """Keep a plan with its team."""
        return ("since",) if obj is None else ("team", "since")

    def save_model(self, request: HttpRequest, obj: TeamPlan, form: Any, change: bool) -> None:
        """Change by the services, which write to the audit log."""
        actor = Actor.of(request)
        services.set_plan(obj.team, PlanName(obj.plan), actor=actor)
        services.set_quota_behaviour(
            obj.team, is_hard=obj.is_hard, serves_hits_over_quota=obj.serves_hits_over_quota, actor=actor
        )


@admin.register(Limit)
class LimitAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What teams let their members, keys and agents use."""

    list_display = ("team", "kind", "subject", "requests_per_month", "requests_per_minute", "is_hard")
    list_filter = ("kind",)
    search_fields = ("team__name", "subject")
    list_select_related = ("team",)
