"""The supervisor: prepares the installation, starts its processes, keeps them running, stops them in order."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from agentcache.settings import Settings
from agentcache.supervisor.child import Child, ChildWatcher
from agentcache.supervisor.errors import CannotStart
from agentcache.supervisor.preparing_child import PreparingChild

#: Time beyond AGENTCACHE_DRAIN_SECONDS in which a process flushes and leaves, before it is killed.
LEAVE_SECONDS = 5.0
#: A replacement that is not ready by then leaves the old process in place.
REPLACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The API key of the local team, known only on the first start."""

    key: str
    team: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the preparation made that is shown once: the first key, and the token of a link for the first operator."""

    first_key: FirstKey | None = None
    setup_token: str | None = None

    @classmethod
    def of(cls, outcome: Mapping[str, Any]) -> Self:
        """Return it as `supervisor.preparation` tells it."""
        return cls(FirstKey(outcome["key"], outcome["team"]) if outcome["key"] else None, outcome["setup_token"])


class Progress(ChildWatcher, Protocol):
    """Is told how the start, the run and the stop go; the command line prints it."""

    def prepared(self, prepared: Prepared) -> None:
        """The databases are up to date; with a key on the first start, and a link while there is no operator."""

    def ready(self, seconds: float) -> None:
        """Every process serves, so many seconds after the start."""

    def stopping(self, drain_seconds: float) -> None:
        """Running requests are given their time."""

    def stopped(self) -> None:
        """Everything has ended."""


class Supervisor:
    """Runs `settings.workers` server processes on one socket and one job worker beside them."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        environ: Mapping[str, str],
        progress: Progress,
        metrics_listener: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._metrics_listener = metrics_listener
        self._environ = environ
        self._progress = progress
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._running: dict[Child, asyncio.Task[None]] = {}
        self._servers: list[Child] = []
        self._worker: PreparingChild | None = None

    def stop(self) -> None:
        """End in order; asked twice, at once."""
        if self._stop.is_set():
            for child in self._running:
                child.kill()
        self._stop.set()

    def reload(self) -> None:
        """Replace the server processes one by one; new connections wait for nobody."""
        self._reload.set()

    async def run(self) -> None:
        """Prepare, serve until `stop`, end. Raises `CannotStart` when the processes cannot be brought up."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self.stop)
        # A closed terminal sends the same signal: then nobody is there any more to stop us.
        in_terminal = sys.stdin is not None and sys.stdin.isatty()
        loop.add_signal_handler(signal.SIGHUP, self.stop if in_terminal else self.reload)
        try:
            if await self._bring_up():
                self._progress.ready(time.monotonic() - started)
                await self._serve()
        finally:
            await self._end()

    async def _bring_up(self) -> bool:
        """Prepare, start every process and wait until it serves; False when told to stop meanwhile."""
        self._worker = self._new_worker()
        self._start(self._worker)
        prepared = await self._prepared(self._worker)
        if prepared is not None:
            self._progress.prepared(prepared)
        if prepared is None or self._stop.is_set():
            return False
        self._servers = [self._start(self._new_server(number)) for number in range(1, self._settings.workers + 1)]
        for child in [*self._servers, self._worker]:
            if not await self._ready(child):
                return False
        return True

    async def _prepared(self, worker: PreparingChild) -> Prepared | None:
        """Wait for what the preparation made; None when it was killed because somebody asked twice to stop.

        Who asks once waits for it: a key that it makes is known to nobody else.
        """
        running = self._running[worker]
        either: list[asyncio.Future[Any]] = [worker.preparation, running]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not worker.preparation.done():
            return running.result()
        return Prepared.of(worker.preparation.result())

    def _new_server(self, number: int) -> Child:
        fd = self._listener.fileno()
        command = ["-m", "agentcache.supervisor.server", "--listener", str(fd)]
        return Child(f"server {number}", command, self._progress, environ=self._environ, pass_fds=[fd])

    def _new_worker(self) -> PreparingChild:
        command = ["-m", "agentcache.supervisor.worker"]
        fds = []
        if self._metrics_listener is not None:
            fds.append(self._metrics_listener.fileno())
            command += ["--metrics-listener", str(fds[0])]
        return PreparingChild("job worker", command, self._progress, environ=self._environ, pass_fds=fds)

    def _start(self, child: Child) -> Child:
        self._running[child] = asyncio.create_task(child.keep_running(), name=child.name)
        return child

    async def _ready(self, child: Child) -> bool:
        waits = [asyncio.create_task(event.wait()) for event in (child.is_ready, child.is_hopeless, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._stop.is_set():
            return False
        if child.is_hopeless.is_set():
            raise CannotStart(f"The {child.name} process ends whenever it is started; its own message stands above.")
        return True

    async def _serve(self) -> None:
        while not self._stop.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._reload)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._reload.is_set() and not self._stop.is_set():
                self._reload.clear()
                await self._replace_servers()

    async def _replace_servers(self) -> None:
        for place, old in enumerate(self._servers):
            fresh = self._start(self._new_server(place + 1))
            try:
                async with asyncio.timeout(REPLACE_SECONDS):
                    is_ready = await self._ready(fresh)
            except (TimeoutError, CannotStart):
                is_ready = False
            if not is_ready:
                await self._end_children([fresh])
                return
            self._servers[place] = fresh
            await self._end_children([old])

    async def _end(self) -> None:
        # The socket goes first: what connects from now on is refused at once instead of waiting for nobody.
        self._listener.close()
        if self._metrics_listener is not None:
            self._metrics_listener.close()
        if not all(task.done() for task in self._running.values()):
            self._progress.stopping(self._settings.drain_seconds)
            await self._end_children(list(self._running))
        self._progress.stopped()

    async def _end_children(self, children: list[Child]) -> None:
        for child in children:
            child.terminate()
        tasks = [self._running[child] for child in children]
        _, late = await asyncio.wait(tasks, timeout=self._settings.drain_seconds + LEAVE_SECONDS)
        if late:
            for child in children:
                child.kill()
            await asyncio.wait(late)
        for child in children:
            del self._running[child]
