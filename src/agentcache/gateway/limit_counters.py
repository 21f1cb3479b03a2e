"""Which counters the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping

from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.tallies import FileTally
from agentcache.gateway.admission import Admission
from agentcache.gateway.ports import LimitBook, TeamLimits, Use
from agentcache.kit.clock import Clock
from agentcache.settings import Settings

_CONNECTIONS = 32


class NoLimits:
    """Implements `gateway.ports.LimitBook` where nothing is limited."""

    async def limits_of(self, tenant_id: str, month: int, counted: Mapping[tuple[str, str], Use]) -> TeamLimits:
        """Return no limits."""
        return TeamLimits(month=month)


def open_admission(settings: Settings, clock: Clock, book: LimitBook) -> Admission:
    """Open the counters of one worker: this machine's file, and Redis where there is one."""
    local = FileTally(settings.run_dir / "limits.tally")
    if settings.redis_url is None:
        return Admission(book, local, clock)
    # Loaded where there is one: see `open_stores`.
    from agentcache.engine.stores.redis_link import RedisLink, socket_seconds
    from agentcache.engine.stores.redis_tally import RedisTally

    patience = settings.store_budget_ms / 1000
    link = RedisLink(
        settings.redis_url,
        counters=StoreCounters(),
        pool_size=_CONNECTIONS,
        pool_wait_seconds=patience,
        socket_seconds=socket_seconds(settings.store_budget_ms),
    )
    return Admission(book, local, clock, shared=RedisTally(link), patience_seconds=patience)
