"""Mails in the operator console: to whom and what became of them, never what they say."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from agentcache.mails import services
from agentcache.mails.models import Mail


@admin.register(Mail)
class MailAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """The queue of mails."""

    list_display = ("subject", "to", "template", "state", "attempts", "last_error", "created_at", "sent_at")
    list_filter = ("state", "template")
    search_fields = ("to",)
    ordering = ("-created_at",)
    exclude = ("sealed_body", "key")
    actions = ("resend", "stop")

    @admin.action(description="Send again now")
    def resend(self, request: HttpRequest, queryset: QuerySet[Mail]) -> None:
        """Send these as soon as a worker has time: those that wait, and those that failed within a day."""
        for mail in queryset:
            if services.resend(mail.pk):
                self.log_change(request, mail, "mail.resent")
            else:
                text = f"{mail} was sent or stopped, or failed more than a day ago: its text is gone."
                self.message_user(request, text, messages.WARNING)

    @admin.action(description="Cancel…")
    def stop(self, request: HttpRequest, queryset: QuerySet[Mail]) -> None:
        """These never go out, and their text is forgotten. What is being sent just now, was sent or has failed is left alone."""
        for mail in queryset:
            if services.stop(mail.pk):
                self.log_change(request, mail, "mail.stopped")
            else:
                self.message_user(request, f"{mail} does not wait, and was left alone.", messages.WARNING)
