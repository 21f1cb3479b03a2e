"""What is done of near questions later: they are taken from the gateway's files, thresholds learned, the index told."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from django.db import DataError, IntegrityError

from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.gateway.ports import SemanticEvent
from agentcache.gateway.semantic.spool import read_semantic_events, waiting_semantic_files
from agentcache.jobs import services as jobs
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import JobKind
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger
from agentcache.semantics import queries, services
from agentcache.semantics.index_access import tell
from agentcache.teams.secrets import ServerSecrets

TAKE: Final = "semantics.take"
TAKE_EVERY_SECONDS: Final = 3.0
PRUNE: Final = "semantics.prune"
PRUNE_EVERY_SECONDS: Final = 3600.0
_FILES_AT_ONCE: Final = 200
_WITHIN_SECONDS: Final = 600.0
_REFUSED: Final = (IntegrityError, DataError, ValueError, OverflowError)
_log = get_logger(__name__)


class Taking:
    """Does jobs of `TAKE`."""

    def __init__(
        self,
        threads: DatabaseThreads,
        secrets: ServerSecrets,
        index: NeighbourIndex,
        folder: Path,
        clock: Clock,
        *,
        encrypt_entries: bool,
    ) -> None:
        self._threads = threads
        self._secrets = secrets
        self._index = index
        self._folder = folder
        self._clock = clock
        self._encrypt_entries = encrypt_entries
        self._has_told_anew = False

    async def __call__(self, _payload: dict[str, object]) -> None:
        """Take what waits, each file in one transaction; then learn, and tell the index of quarantines.

        The first time it is told of all of them: records may have been restored without their index.
        """
        if await self._threads.run(partial(take_files, self._secrets, self._folder), within_seconds=_WITHIN_SECONDS):
            now = jobs.at(self._clock.now())
            await self._threads.run(partial(services.learn_due, now), within_seconds=_WITHIN_SECONDS)
        if not self._has_told_anew:
            await self._threads.run(services.tell_anew)
            self._has_told_anew = True
        for row in await self._threads.run(queries.untold):
            team = row.team
            tenant = self._secrets.tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=self._encrypt_entries)
            await tell(self._index, tenant, row)
            await self._threads.run(partial(services.note_told, row.pk, row.released_at))


def job_kinds(taking: Taking, threads: DatabaseThreads, clock: Clock) -> dict[str, JobKind]:
    """Return the kinds of jobs of semantic look-ups."""

    async def prune(_payload: dict[str, object]) -> None:
        await threads.run(partial(services.prune, jobs.at(clock.now())), within_seconds=_WITHIN_SECONDS)

    return {
        TAKE: JobKind(taking, TAKE_EVERY_SECONDS),
        PRUNE: JobKind(prune, PRUNE_EVERY_SECONDS),
    }


def take_files(secrets: ServerSecrets, folder: Path) -> int:
    """Take the gateway's files into the database, each in one transaction; return how many events were new."""
    taken = 0
    for path in waiting_semantic_files(folder)[:_FILES_AT_ONCE]:
        try:
            events = read_semantic_events(path)
        except FileNotFoundError:
            continue  # another worker was faster
        except msgspec.DecodeError:
            _log.warning("semantic_file_unreadable", path=path.name)
            events = []
        taken += _take(secrets, events)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return taken


def _take(secrets: ServerSecrets, events: Sequence[SemanticEvent]) -> int:
    try:
        return services.take_events(secrets, events)
    except _REFUSED as error:
        if len(events) == 1:
            _log.warning("semantic_event_refused", event_id=events[0].id, reason=type(error).__name__)
            return 0
    # One event that the database will not have must not hold up the others.
    return sum(_take(secrets, [event]) for event in events)
