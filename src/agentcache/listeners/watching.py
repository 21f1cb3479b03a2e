"""Keeps listeners checked: takes what is due, looks at many sources at once, invalidates, then writes down."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from django.db import Error

from agentcache.engine.stores.port import EntryStore, StoreUnavailable
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import Clock
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.kit.errors import Unavailable
from agentcache.kit.logs import get_logger
from agentcache.listeners.checking import Checker
from agentcache.listeners.findings import Changed, Failed
from agentcache.listeners.invalidating import Gone, invalidate
from agentcache.listeners.models import KeptText, Listener
from agentcache.listeners.reading.reader import Reader
from agentcache.listeners.services import records, turns
from agentcache.listeners.services.records import Checked

T = TypeVar("T")

CONCURRENCY: Final = 64
#: Of all checks under way, one team has at most this share: slow sources of one do not hold up the others'.
TEAM_SHARE: Final = 0.75
_POLL_SECONDS: Final = 1.0
#: Between two claims: the more are due, the more are taken in one transaction.
_PACE_SECONDS: Final = 0.1
_DATABASE_PAUSE_SECONDS: Final = 5.0
_DATABASE_WITHIN_SECONDS: Final = 30.0
#: A check that takes longer has met a fault of ours: the source is bounded by less.
_CHECK_SECONDS: Final = 60.0
_log = get_logger(__name__)


class Watch:
    """Runs checks on the event loop. Several may run, in one process or many: each due listener is one's at a time."""

    def __init__(
        self,
        threads: DatabaseThreads,
        entries: EntryStore,
        client: GuardedClient,
        reader: Reader,
        clock: Clock,
        origin: str,
        *,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._threads = threads
        self._entries = entries
        self._clock = clock
        self._concurrency = concurrency
        self._team_max = max(1, int(concurrency * TEAM_SHARE))
        self._checker = Checker(client, reader, clock, origin, self._former_text, self._keep_delay, self._hold_host)
        self._running: dict[asyncio.Task[None], Listener] = {}
        self._by_team: Counter[str] = Counter()
        self._done: list[Checked] = []

    async def run(self, stop: asyncio.Event, drain_seconds: float = 10.0) -> None:
        """Work until `stop` is set, then give checks under way a moment and give the others back."""
        while not stop.is_set():
            try:
                started = await self.start_due()
                await self.write_down()
                # Without anything to do, the next question can wait.
                pause = _PACE_SECONDS if started or self._running else _POLL_SECONDS
            except Unavailable as error:
                _log.warning("listeners_database_unavailable", reason=error.message)
                pause = _DATABASE_PAUSE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
        await self._drain(drain_seconds)

    async def start_due(self) -> int:
        """Begin to look at what is due and there is room for; return how many that was."""
        room = self._concurrency - len(self._running)
        full = [team for team, count in self._by_team.items() if count >= self._team_max]
        rows = await self._database(partial(turns.claim_due, self._now(), room, full))
        for row in rows:
            task = asyncio.create_task(self._check(row), name=f"listener-{row.pk}")
            self._running[task] = row
            self._by_team[row.team_id] += 1
            task.add_done_callback(self._ended)
        return len(rows)

    async def settle(self) -> None:
        """Wait until no check is under way, and write down what they found."""
        while self._running:
            await asyncio.wait(set(self._running))
        await self.write_down()

    async def write_down(self) -> None:
        """Keep what checks found since the last time."""
        done, self._done = self._done, []
        if not done:
            return
        try:
            await self._database(partial(records.record, done))
        except Unavailable:
            self._done = done + self._done
            raise
        except Error:
            await self._write_one_by_one(done)

    async def _write_one_by_one(self, done: list[Checked]) -> None:
        """Keep what can be kept, when something that one of them found cannot."""
        for check in done:
            try:
                await self._database(partial(records.record, [check]))
            except Error as error:
                # Its lease runs out, and it is checked once more.
                _log.error("listener_not_written_down", listener_id=check.listener.pk, reason=type(error).__name__)

    async def _check(self, row: Listener) -> None:
        at = self._now()
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                finding = await self._checker.check(row)
        except TimeoutError:
            finding = Failed("The check took too long.")
        gone: list[Gone] = []
        if isinstance(finding, Changed) and row.invalidates:
            try:
                # First: whoever dies before the change is written down finds it once more, and invalidates again.
                gone = await invalidate(self._entries, row, finding, self._clock.now)
            except StoreUnavailable as error:
                # Not the source's fault. It stays in our hands until the lease runs out, then all is done again.
                _log.warning("listener_could_not_invalidate", listener_id=row.pk, reason=error.message)
                return
        check = Checked(row, at, finding, gone, self._clock.now())
        if isinstance(finding, Changed):
            _log.info("listener_changed", listener_id=row.pk, team_id=row.team_id, entries=check.entries)
        self._done.append(check)

    async def _former_text(self, row: Listener) -> str:
        kept = await self._database(partial(KeptText.objects.filter(listener_id=row.pk).first))
        return zlib.decompress(bytes(kept.deflated)).decode() if kept is not None else ""

    async def _keep_delay(self, host: str, delay_seconds: float) -> None:
        await self._database(partial(turns.keep_host_delay, host, delay_seconds))

    async def _hold_host(self, host: str, seconds: float) -> None:
        until = self._now() + timedelta(seconds=seconds)
        await self._database(partial(turns.hold_host, host, until))

    async def _drain(self, drain_seconds: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=drain_seconds)
        rest = dict(self._running)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(set(rest))
        with contextlib.suppress(Unavailable):
            await self.write_down()
            if rest:
                await self._database(partial(turns.release, list(rest.values())))

    def _ended(self, task: asyncio.Task[None]) -> None:
        row = self._running.pop(task)
        self._by_team[row.team_id] -= 1
        if not self._by_team[row.team_id]:
            del self._by_team[row.team_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out, and it is checked once more.
            _log.warning("listener_check_failed", listener_id=row.pk, reason=type(error).__name__)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)
