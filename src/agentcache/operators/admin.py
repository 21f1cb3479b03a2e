"""What operators may do to users beside what `accounts` lets them: make others operators, and end that."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from agentcache.accounts.admin import UserAdmin
from agentcache.accounts.models import User
from agentcache.operators import services
from agentcache.operators.errors import LastOperator
from agentcache.quotas.models import TeamPlan
from agentcache.quotas.plans import PLANS, PlanName
from agentcache.teams.admin import TeamAdmin
from agentcache.teams.models import Team


class UsersAndOperators(UserAdmin):
    """Who has an account, and who may open this console."""

    actions = (*UserAdmin.actions, "make_operator", "end_operator")

    @admin.action(description="Make operator…")
    def make_operator(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """These people may do everything in this console, as you may: see all users, teams and jobs, and view as anybody."""
        for user in queryset.filter(is_staff=False, is_active=True):
            services.make_operator(request, user)
        for user in queryset.filter(is_active=False):
            self.message_user(request, f"{user} is disabled, and was left alone.", messages.WARNING)

    @admin.action(description="Remove operator…")
    def end_operator(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """The console is closed to these people at once, and they are signed out everywhere. Nobody removes themselves, so there is always an operator."""
        for user in queryset.filter(is_staff=True):
            try:
                services.end_operator(request, user)
            except LastOperator as error:
                self.message_user(request, f"{user}: {error.message}", messages.ERROR)


class TeamsAndPlans(TeamAdmin):
    """Who owns keys, entries and usage, with the way to each team's plan."""

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **options: Any) -> HttpResponse:  # type: ignore[override]  # as Django calls it
        """Tell the page which plan the team is on."""
        chosen = TeamPlan.objects.filter(pk=options["obj"].pk).first() if options.get("obj") else None
        context["plan"] = PLANS[PlanName(chosen.plan)].title if chosen is not None else ""
        return super().render_change_form(request, context, **options)


for model, shown in ((User, UsersAndOperators), (Team, TeamsAndPlans)):
    admin.site.unregister(model)
    admin.site.register(model, shown)
