"""Prewarming for tests: batches, and the job that does them, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from agentcache.audit.services import Actor
from agentcache.demo.fake_provider import FakeProvider
from agentcache.gateway.kept_requests import RequestSpool, requests_dir
from agentcache.gateway.ports import Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock, SystemClock
from agentcache.prewarm import services
from agentcache.prewarm.given import read_lines
from agentcache.prewarm.jobs import Prewarming
from agentcache.prewarm.models import Batch
from agentcache.prewarm.probing import dialects_of, find_dialect
from agentcache.prewarm.refreshing import RefreshAhead
from agentcache.prewarm.services.batches import RUN
from agentcache.settings import Settings
from agentcache.tasks.jobs import TaskRunner
from agentcache.teams.directory import team_principal
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets, current_secrets
from agentcache.web.inside import LazyInside
from agentcache.web.jobs import tell_of_end
from tests.support.gateway import LightGateway
from tests.support.prewarming_requests import lines

CREDENTIAL = "sk-of-the-team-8Qz4"


def keep_credential(settings: Settings, team: Team, provider: str = "openai") -> None:
    """Have the team keep a credential."""
    services.keep_credential(
        current_secrets(), team, find_dialect(settings, provider), CREDENTIAL, actor=Actor.system()
    )


def start(settings: Settings, team: Team, requests: list[dict[str, Any]], **options: Any) -> Batch:
    """Start a batch."""
    from agentcache.prewarm.given import OptionsGiven, check_options

    checked = read_lines(lines(*requests), dialects_of(settings))
    given = check_options(OptionsGiven(**options))
    return services.start_batch(current_secrets(), team, checked, given, actor=Actor.system())


@contextlib.asynccontextmanager
async def open_runner(settings: Settings, clock: Clock | None = None) -> AsyncIterator[TaskRunner]:
    """Yield what does batches."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        threads = DatabaseThreads(answer_within_seconds=60)
        stack.callback(threads.close)
        inside = LazyInside(settings, clock, threads)
        stack.push_async_callback(inside.close)
        prewarming = Prewarming(
            threads,
            ServerSecrets.of(settings),
            inside,
            clock,
            encrypt_entries=settings.encrypt_entries,
            again_after_seconds=(0.01, 0.01),
        )
        yield TaskRunner(threads, {RUN: prewarming}, clock, on_end=tell_of_end)


def do(settings: Settings, batch: Batch, clock: Clock | None = None) -> Batch:
    """Do a batch to its end, and return it as it is then."""

    async def work() -> None:
        async with open_runner(settings, clock) as runner:
            await runner({"task_id": batch.task_id})

    asyncio.run(work())
    return Batch.objects.get(pk=batch.pk)


@contextlib.contextmanager
def serving(settings: Settings, team: Team, provider: FakeProvider, *, keeps: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the URL of a gateway of this project and a key of the team; what was kept is in files at the end."""
    with LightGateway(settings.data_dir, provider) as gateway:
        spool = RequestSpool(requests_dir(settings.data_dir), SystemClock())
        object.__setattr__(gateway.parts, "kept_requests", spool)
        api_key = gateway.key()
        principals = gateway.control_plane.principals
        principals[api_key] = replace(
            principals[api_key],
            tenant=team_principal(current_secrets(), team, encrypt_entries=False).tenant,
            keeps_requests=keeps,
            scopes=frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE}),
        )
        yield gateway.url, api_key
        gateway.run(spool.flush())


def refresh_due(settings: Settings, clock: Clock) -> int:
    """Ask for what is due again, to its end; return how many that were."""

    async def work() -> int:
        threads = DatabaseThreads(threads=1, answer_within_seconds=60)
        inside = LazyInside(settings, clock, threads)
        ahead = RefreshAhead(threads, current_secrets(), inside, clock, encrypt_entries=False)
        try:
            number = await ahead.start_due()
            await ahead.settle()
            return number
        finally:
            await inside.close()
            threads.close()

    return asyncio.run(work())
