"""A listener in a test: registers, lets time pass, looks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from agentcache.audit.services import Actor
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.listeners import queries, services
from agentcache.listeners.models import Listener, ListenerEvent
from agentcache.listeners.rules import Wanted
from agentcache.listeners.watching import Watch
from agentcache.settings import Settings
from agentcache.teams.models import Team

INTERVAL_SECONDS = 3600


class WatchedSource:
    """One listener of a team, whose time passes when it is looked at."""

    def __init__(
        self, team: Team, settings: Settings, threads: DatabaseThreads, watch: Watch, clock: ManualClock
    ) -> None:
        self.team, self.settings, self.threads, self.watch, self.clock = team, settings, threads, watch, clock
        self.id = ""

    @property
    def now(self) -> datetime:
        """The time of the test."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    async def run(self, work: Any) -> Any:
        """Do something with the database."""
        return await self.threads.run(work, within_seconds=20)

    async def register(self, url: str, **members: Any) -> WatchedSource:
        """Watch a URL, and read it for the first time."""
        wanted = Wanted(url=url, check_interval_seconds=INTERVAL_SECONDS, **members)
        now = self.now
        row = await self.run(lambda: services.register(self.team, wanted, self.settings, now, actor=Actor.system()))
        self.id = row.pk
        await self.look()
        return self

    async def look(self, seconds: float = INTERVAL_SECONDS + 1) -> Listener:
        """Check what is due, then let an interval pass; return how the listener is."""
        while await self.watch.start_due():
            await self.watch.settle()
            # A host is asked once a second.
            self.clock.move(1.01)
        self.clock.move(seconds)
        return await self.row()

    async def row(self) -> Listener:
        """Return the listener."""
        found: Listener = await self.run(Listener.objects.filter(pk=self.id).get)
        return found

    async def history(self) -> list[ListenerEvent]:
        """Return what happened, newest first."""
        found: list[ListenerEvent] = await self.run(partial(queries.history, await self.row()))
        return found

    async def kinds(self) -> list[str]:
        """Return what kinds of things happened, oldest first."""
        return [event.kind for event in reversed(await self.history())]
