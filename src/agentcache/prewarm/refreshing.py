"""Asks anew what is due among the kept requests: refreshed ahead by a policy, or known to be outdated.

A loop beside the jobs, as watching is: what it does is neither worth a row each, nor anything that somebody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from django.db import Error

from agentcache.gateway.inside import Inside
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.prewarm import services
from agentcache.prewarm.jobs import OpenInside
from agentcache.prewarm.services import DueRequest, WorkingTeam
from agentcache.teams.secrets import ServerSecrets

T = TypeVar("T")

CONCURRENCY: Final = 16
_POLL_SECONDS: Final = 5.0
_PACE_SECONDS: Final = 0.2
_DATABASE_WITHIN_SECONDS: Final = 30.0
_log = get_logger(__name__)


class RefreshAhead:
    """Runs on the event loop of the job worker. Several may run: each due request is one's at a time."""

    def __init__(
        self,
        threads: DatabaseThreads,
        secrets: ServerSecrets,
        open_inside: OpenInside,
        clock: Clock,
        *,
        encrypt_entries: bool,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._threads = threads
        self._secrets = secrets
        self._open_inside = open_inside
        self._clock = clock
        self._encrypt_entries = encrypt_entries
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, drain_seconds: float = 10.0) -> None:
        """Work until `stop` is set, then give what is under way a moment; what is left is due again after its lease."""
        while not stop.is_set():
            try:
                pause = _PACE_SECONDS if await self.start_due() or self._running else _POLL_SECONDS
            except (Unavailable, Error) as error:
                _log.warning("refreshing_database_unavailable", reason=type(error).__name__)
                pause = _POLL_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
        if self._running:
            await asyncio.wait(self._running, timeout=drain_seconds)
        for task in list(self._running):
            task.cancel()
        await self.settle()

    async def start_due(self) -> int:
        """Begin to ask what is due and there is room for; return how many that was."""
        room = self._concurrency - len(self._running)
        claim = partial(services.claim_due, self._secrets, self._now(), room, encrypt_entries=self._encrypt_entries)
        due, teams = await self._database(claim)
        for one in due:
            task = asyncio.create_task(self._refresh(one, teams[one.team_id]), name=f"refresh-{one.row_id}")
            self._running.add(task)
            task.add_done_callback(self._ended)
        return len(due)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _refresh(self, due: DueRequest, team: WorkingTeam) -> None:
        async with self._open_inside() as inside:
            is_done = await self._asked(inside, due, team)
            await inside.flush()
        note = partial(services.note_refreshed, due) if is_done else partial(services.note_failed, due, self._now())
        await self._database(note)

    async def _asked(self, inside: Inside, due: DueRequest, team: WorkingTeam) -> bool:
        """Ask if that is still wanted and can be; False where it is worth another try."""
        credential, dialect = team.credentials.get(due.request.dialect), due.request.dialect
        if credential is None or dialect not in inside.dialects:
            return True
        try:
            if due.outdated_since is None and not await inside.is_in_use(team.principal, due.cache_key):
                return True
            standing = await inside.stand(team.principal, due.request, credential, outdated_since=due.outdated_since)
            if standing.uncacheable or standing.is_fresh:
                return True
            told = await inside.ask(standing)
        except AgentCacheError as error:
            _log.info("refresh_failed", team_id=due.team_id, reason=error.code)
            return False
        return told.is_answered

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease runs out, and it is tried once more.
            _log.warning("refresh_failed", reason=type(error).__name__)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)
