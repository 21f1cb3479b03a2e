"""Asking again for the gateway's own API, implementing `agentcache.gateway.ports.Prewarmer`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector
from agentcache.gateway.ports import AskAgain, AskedAgain
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.services import at as aware
from agentcache.prewarm import services
from agentcache.prewarm.given import Options
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets

#: What batches are called that an invalidation starts.
TITLE: Final = "What was invalidated"
#: Opening and sealing ten thousand requests takes seconds.
_WITHIN_SECONDS: Final = 60.0


class DjangoPrewarmer:
    """Chooses among the kept requests and starts batches."""

    def __init__(self, threads: DatabaseThreads, secrets: ServerSecrets, requests_folder: Path) -> None:
        self._threads = threads
        self._secrets = secrets
        self._requests_folder = requests_folder

    async def ask_again(
        self,
        tenant_id: str,
        selector: Selector,
        at: float,
        how: AskAgain,
        *,
        api_key_id: str,
        user_id: str,
        address: str,
    ) -> AskedAgain:
        """Start a job that asks for the answers that a selector meant at a Unix time. Raises `Unavailable`."""
        actor = Actor(user_id=user_id, api_key_id=api_key_id, ip=address)

        def work(team: Team) -> AskedAgain:
            options = Options(TITLE, how.concurrency, None, how.cost_cap_usd_nanos)
            return services.ask_again(self._secrets, team, [selector], aware(at), options, limit=how.limit, actor=actor)

        return await self._of_team(tenant_id, work)

    async def would_ask(self, tenant_id: str, selector: Selector, at: float, how: AskAgain) -> AskedAgain:
        """Say what `ask_again` would do now, and do nothing. Raises `Unavailable`."""
        return await self._of_team(tenant_id, lambda team: services.would_ask(team, [selector], aware(at), how.limit))

    async def _of_team(self, tenant_id: str, work: Callable[[Team], AskedAgain]) -> AskedAgain:
        return await self._threads.run(partial(self._taken, tenant_id, work), within_seconds=_WITHIN_SECONDS)

    def _taken(self, tenant_id: str, work: Callable[[Team], AskedAgain]) -> AskedAgain:
        # The newest requests may still be on their way.
        services.take_files(self._requests_folder)
        team = Team.objects.filter(pk=tenant_id).first()
        return work(team) if team is not None else AskedAgain()
