"""Asks anew what is due among the kept requests: refreshed ahead by a policy, or known to be outdated.

A loop beside the jobs, as watching is: what it does is neither worth a row each, nor anything that somebody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from django.db import Error, transaction

from agentcache.gateway.inside import Inside, Standing
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.prewarm import services
from agentcache.prewarm.asking import Asking, Pace, ReadyRequest
from agentcache.prewarm.items import fitting, numbered, planned
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
        for call in _calls(due):
            first = call[0]
            task = asyncio.create_task(self._refresh(call, teams[first.team_id]), name=f"refresh-{first.row_id}")
            self._running.add(task)
            task.add_done_callback(self._ended)
        return len(due)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _refresh(self, call: Sequence[DueRequest], team: WorkingTeam) -> None:
        async with self._open_inside() as inside:
            undone = await self._asked(inside, call, team)
            await inside.flush()
        await self._database(partial(_note, call, undone, self._now()))

    async def _asked(self, inside: Inside, call: Sequence[DueRequest], team: WorkingTeam) -> set[int]:
        """Ask for what is still wanted and can be had; return the rows that are worth another try."""
        ready: list[ReadyRequest] = []
        undone: set[int] = set()
        for due in call:
            try:
                standing = await self._standing(inside, due, team)
            except AgentCacheError as error:
                _log.info("refresh_failed", team_id=due.team_id, reason=error.code)
                undone.add(due.row_id)
                continue
            if standing is not None:
                ready.append(ReadyRequest(due.row_id, due.request, standing, due.outdated_since))
        if ready:
            asking = Asking(inside, team.principal, team.credentials, Pace(None, self._clock), (), self._clock)
            told = await asking.ask(ready)
            undone.update(one.row_id for one, what in told if what is not None and not what.is_answered)
        return undone

    async def _standing(self, inside: Inside, due: DueRequest, team: WorkingTeam) -> Standing | None:
        """Return how a request stands; None where there is nothing to ask. Raises `AgentCacheError`."""
        dialect = due.request.dialect
        credential = team.credentials.get(dialect)
        if credential is None or dialect not in inside.dialects:
            return None
        if due.outdated_since is None and not await inside.is_in_use(team.principal, due.cache_key):
            return None
        standing = await inside.stand(team.principal, due.request, credential, outdated_since=due.outdated_since)
        return None if standing.uncacheable or standing.is_fresh else standing

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease runs out, and it is tried once more.
            _log.warning("refresh_failed", reason=type(error).__name__)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def _calls(due: Sequence[DueRequest]) -> list[list[DueRequest]]:
    """Return due requests as the calls that they are asked in: items of embeddings that go together in one."""
    calls: list[list[DueRequest]] = []
    for team_id in sorted({one.team_id for one in due}):
        own = {one.row_id: one for one in due if one.team_id == team_id}
        groups = numbered([one.request if one.is_item else None for one in own.values()])
        for planned_call in planned(list(zip(own, groups, strict=True)), len(own)):
            call = [own[row_id] for row_id in planned_call]
            while call:
                fits = fitting([one.request for one in call])
                calls.append(call[:fits])
                call = call[fits:]
    return calls


@transaction.atomic
def _note(call: Sequence[DueRequest], undone: Collection[int], now: datetime) -> None:
    for due in call:
        if due.row_id in undone:
            services.note_failed(due, now)
        else:
            services.note_refreshed(due)
