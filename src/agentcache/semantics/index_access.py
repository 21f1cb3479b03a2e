"""The way from pages and jobs to the index of neighbours."""

from __future__ import annotations

import asyncio
from typing import Final

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index.opening import open_index
from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.kit.clock import SystemClock
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.logs import get_logger
from agentcache.semantics.models import QuarantinedEntry
from agentcache.semantics.services.quarantining import note_told
from agentcache.settings import Settings
from agentcache.teams.secrets import current_secrets, current_settings

#: A page waits no longer for the index; the job tells it later.
ANSWER_WITHIN_SECONDS: Final = 5.0
_log = get_logger(__name__)


async def tell(index: NeighbourIndex, tenant: Tenant, row: QuarantinedEntry) -> None:
    """Have an entry of a tenant answer no near questions, or again, as the row says. Raises `IndexUnavailable`."""
    key = bytes.fromhex(row.entry_key)
    if row.released_at is None:
        await index.quarantine(tenant, key, until=None, reason=row.reason)
    else:
        await index.release(tenant, key)


def tell_now(row: QuarantinedEntry) -> bool:
    """Tell the index of a quarantine or its end, and note that; return whether it answered. If not, a job goes on.

    Not for threads that run an event loop. To the index, this is one more worker.
    """
    settings, team = current_settings(), row.team
    tenant = current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=settings.encrypt_entries)
    try:
        asyncio.run(_tell_alone(settings, tenant, row))
    except (AgentCacheError, TimeoutError, OSError) as error:
        _log.warning("index_not_told", tenant_id=row.team_id, reason=type(error).__name__)
        return False
    note_told(row.pk, row.released_at)
    return True


async def _tell_alone(settings: Settings, tenant: Tenant, row: QuarantinedEntry) -> None:
    index = open_index(settings, SystemClock())
    try:
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            await tell(index, tenant, row)
    finally:
        await index.aclose()
