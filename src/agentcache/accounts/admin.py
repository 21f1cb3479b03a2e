"""People and their sessions in the operator console."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agentcache.accounts import services
from agentcache.accounts.models import LoginSession, User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Who has an account."""

    list_display = ("email", "name", "is_active", "is_staff", "created_at", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name", "id")
    ordering = ("-created_at",)
    fields = ("email", "name", "is_active", "is_staff", "theme", "created_at", "last_login")
    actions: tuple[str, ...] = ("disable", "enable", "end_sessions")

    @admin.action(description="Disable…")
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """These people are shut out at once, on every device. API keys that are their own answer `inactive_key` within five seconds, and work again when they are enabled; shared keys of their teams go on. Operators are left alone."""
        for user in queryset.filter(is_staff=False):
            services.disable(user, request)

    @admin.action(description="Enable")
    def enable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Let these people in again; their own API keys work again, too."""
        for user in queryset:
            services.enable(user, request)

    @admin.action(description="End all sessions…")
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """These people have to sign in again on every device."""
        for user in queryset:
            services.end_all_sessions(user)
            self.log_change(request, user, "session.all_ended")


@admin.register(LoginSession)
class LoginSessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Who is signed in."""

    list_display = ("user", "network", "user_agent", "started_at", "last_seen_at", "expire_date")
    list_display_links = None
    search_fields = ("user__email", "network")
    ordering = ("-last_seen_at",)
    fields = ("user", "network", "user_agent", "started_at", "last_seen_at", "expire_date")
    list_select_related = ("user",)
    actions = ("end",)

    @admin.action(description="End…")
    def end(self, request: HttpRequest, queryset: QuerySet[LoginSession]) -> None:
        """Whoever uses these sessions has to sign in again."""
        for row in queryset.exclude(user=None):
            assert row.user is not None
            services.end_session(row.user, row.handle, request)
