"""Teams, members, invitations and keys in the operator console. Never a secret, nor what one is made of."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agentcache.audit.services import Actor
from agentcache.teams import services
from agentcache.teams.models import ApiKey, Invitation, Membership, Team
from agentcache.teams.services.key_rules import KeyManager


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Who owns keys, entries and usage."""

    list_display = ("name", "slug", "is_personal", "created_at")
    list_filter = ("is_personal",)
    search_fields = ("name", "slug", "id")
    ordering = ("-created_at",)
    fields = ("id", "name", "slug", "is_personal", "default_namespace", "default_lifetime_seconds", "created_at")


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Who belongs to which team."""

    list_display = ("user", "team", "role", "is_owner", "has_billing", "created_at", "last_seen_at")
    list_filter = ("role", "is_owner")
    search_fields = ("user__email", "team__name", "team__slug")
    list_select_related = ("user", "team")
    ordering = ("-created_at",)


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Who was asked to join."""

    list_display = ("email", "team", "role", "sent_at", "expires_at", "accepted_at", "cancelled_at")
    search_fields = ("email", "team__name")
    list_select_related = ("team",)
    ordering = ("-created_at",)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """The keys of all teams, masked."""

    list_display = ("name", "display", "team", "created_by", "created_at", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("is_test", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "display", "team__name", "team__slug", "id")
    list_select_related = ("team", "created_by")
    ordering = ("-created_at",)
    exclude = ("key_hash",)
    actions = ("revoke",)

    @admin.action(description="Revoke…")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """These keys stop working for good, everywhere, within five seconds."""
        by = KeyManager(Actor.of(request))
        for key in queryset.select_related("team"):
            services.revoke_api_key(key.team, key.pk, by=by)
