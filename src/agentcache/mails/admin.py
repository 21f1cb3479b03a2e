"""Mails in the operator console: to whom and what became of them, never what they say."""

from __future__ import annotations

from django.contrib import admin

from agentcache.mails.models import Mail


@admin.register(Mail)
class MailAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """The queue of mails."""

    list_display = ("subject", "to", "template", "state", "attempts", "last_error", "created_at", "sent_at")
    list_filter = ("state", "template")
    search_fields = ("to",)
    ordering = ("-created_at",)
    exclude = ("sealed_body", "key")
