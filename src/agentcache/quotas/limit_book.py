"""The gateway's limits, answered from the control plane's database."""

from __future__ import annotations

from collections.abc import Mapping

from agentcache.gateway.ports import TeamLimits, Use
from agentcache.jobs.database import DatabaseThreads
from agentcache.quotas import queries, services


class DjangoLimitBook:
    """Implements `gateway.ports.LimitBook`."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads

    async def limits_of(self, tenant_id: str, month: int, counted: Mapping[tuple[str, str], Use]) -> TeamLimits:
        """Return a team's limits and use. Raises `Unavailable`."""
        standing = {key: use.requests for key, use in counted.items()}

        def work() -> TeamLimits:
            services.note_counted(tenant_id, month, standing)
            return queries.limits_for_gateway(tenant_id, month)

        return await self._threads.run(work)
