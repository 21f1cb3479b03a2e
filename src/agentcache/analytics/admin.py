"""Usage in the operator console."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

from django.contrib import admin
from django.core.paginator import Paginator

from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.design import formats
from agentcache.providers.registry import title_of

_COUNTED_MAX = 5_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic when it runs
    """Pages through the newest rows without counting all of ten million."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to page through."""
        return len(self.object_list.values_list("pk")[:_COUNTED_MAX])  # type: ignore[attr-defined]  # a query set here


@admin.register(UsageEvent)
class UsageEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Single requests, newest first. They hold no prompt and no answer."""

    list_display = ("id", "at", "team_id", "api_key_id", "model", "outcome", "status", "latency", "reason")
    #: In the order of a request's life: who asked, what, how it ended, what it took.
    fields = (
        "id", "at", "team_id", "api_key_id", "user_id", "agent", "provider", "endpoint", "model", "namespace", "tags", "sources",
        "outcome", "reason", "freshness", "status", "policy", "entry_key", "requests", "input_tokens", "output_tokens",
        "cost", "saved", "latency", "provider_time",
    )  # fmt: skip
    readonly_fields = ("at", "provider", "cost", "saved", "latency", "provider_time")
    ordering = ("-at_ms",)
    paginator = BoundedPaginator
    show_full_result_count = False
    # By id only: everything else would read the whole table.
    search_fields = ("=id",)

    @admin.display(description="Ended", ordering="at_ms")
    def at(self, event: UsageEvent) -> str:
        """When it ended."""
        return formats.moment(datetime.fromtimestamp(event.at_ms / 1000, UTC))

    @admin.display
    def provider(self, event: UsageEvent) -> str:
        """Whose API was asked for."""
        return title_of(event.dialect)

    @admin.display
    def cost(self, event: UsageEvent) -> str:
        """What the provider charged."""
        return formats.usd(event.cost_usd_nanos / 1e9)

    @admin.display
    def saved(self, event: UsageEvent) -> str:
        """What was not paid again."""
        return formats.usd(event.saved_usd_nanos / 1e9)

    @admin.display
    def latency(self, event: UsageEvent) -> str:
        """How long the caller waited."""
        return formats.number(event.latency_us / 1000, "ms")

    @admin.display
    def provider_time(self, event: UsageEvent) -> str:
        """How long the provider took; a dash where it was not asked."""
        return formats.number(event.upstream_us / 1000 if event.upstream_us else None, "ms")


@admin.register(UsageGap)
class UsageGapAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Events that were lost with a worker."""

    list_display = ("detected_at", "worker", "lost")
    ordering = ("-detected_at",)
