"""Usage in the operator console."""

from __future__ import annotations

from functools import cached_property

from django.contrib import admin
from django.core.paginator import Paginator

from agentcache.analytics.models import UsageEvent, UsageGap

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

    list_display = ("id", "at_ms", "team_id", "api_key_id", "model", "outcome", "status", "latency_us", "reason")
    ordering = ("-at_ms",)
    paginator = BoundedPaginator
    show_full_result_count = False
    # By id only: everything else would read the whole table.
    search_fields = ("=id",)


@admin.register(UsageGap)
class UsageGapAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Events that were lost with a worker."""

    list_display = ("detected_at", "worker", "lost")
    ordering = ("-detected_at",)
