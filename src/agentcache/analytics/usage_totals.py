"""Totals for the gateway's own API, implementing `agentcache.gateway.ports.UsageTotals`."""

from __future__ import annotations

from datetime import UTC, datetime

from agentcache.analytics import queries
from agentcache.analytics.periods import last_days
from agentcache.gateway.ports import EntryHits, TenantTotals
from agentcache.jobs.database import DatabaseThreads
from agentcache.teams.models import Team


class DjangoUsageTotals:
    """Adds up usage in the control plane's database."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads

    async def tenant_totals(self, tenant_id: str, since_ms: int) -> TenantTotals:
        """Return the totals since a Unix time in milliseconds. Raises `Unavailable`."""
        return await self._threads.run(lambda: _totals(tenant_id, since_ms))

    async def entry_hits(self, tenant_id: str, since_ms: int) -> EntryHits:
        """Return how often each entry answered since a Unix time in milliseconds. Raises `Unavailable`."""
        return await self._threads.run(lambda: queries.entry_hits(Team(id=tenant_id), since_ms))

    async def near_answer(self, tenant_id: str, request_id: str) -> str | None:
        """Return the key of the entry that answered a request to a near question. Raises `Unavailable`."""
        return await self._threads.run(lambda: queries.near_answer(Team(id=tenant_id), request_id))


def _totals(tenant_id: str, since_ms: int) -> TenantTotals:
    now = datetime.now(UTC)
    # Whole hours, or days beyond a week: the same period that pages and `/api/stats` mean by so many days.
    period = last_days(max(1, round((now.timestamp() - since_ms / 1000) / 86400)), now)
    # A tenant's id is its team's; no row has to be read to scope by it.
    found = queries.totals(Team(id=tenant_id), period)
    return TenantTotals(
        requests=found.requests,
        hits=found.hits,
        misses=found.misses,
        coalesced=found.coalesced,
        cost_usd_nanos=found.cost_usd_nanos,
        saved_usd_nanos=found.saved_usd_nanos,
    )
