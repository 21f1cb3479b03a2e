"""One process of ours: started, watched, started again with growing pauses when it dies, stopped in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

#: Pause before a restart; doubles with each death in a row.
PAUSE_SECONDS_FIRST = 0.5
PAUSE_SECONDS_MAX = 30.0
#: A process that lived this long is well again, and its next death is the first in a row.
WELL_AFTER_SECONDS = 60.0
#: After this many deaths in a row without ever being ready, starting again is hopeless.
HOPELESS_DEATHS = 3
#: What a process said before its end is there at once; a process that it left behind may hold the other end for ever.
LAST_WORDS_SECONDS = 1.0


class ChildWatcher(Protocol):
    """Is told what becomes of a child."""

    def child_ready(self, name: str) -> None:
        """The process serves."""

    def child_not_ready(self, name: str, reason: str) -> None:
        """The process runs, but cannot serve yet."""

    def child_died(self, name: str, exit_code: int, pause_seconds: float) -> None:
        """The process died by itself and is started again after a pause."""


class Child:
    """A process that runs `python -m <module> ... --lifeline <fd>`.

    The lifeline is a socket pair: the child writes JSON lines on it (`{"state": "ready"}`) and ends when it reads the
    end of it, so that no child outlives a supervisor that was killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        watcher: ChildWatcher,
        *,
        environ: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        pause_seconds: float = PAUSE_SECONDS_FIRST,
    ) -> None:
        self.name = name
        #: Set while the process serves.
        self.is_ready = asyncio.Event()
        #: Set when it died too often without ever serving.
        self.is_hopeless = asyncio.Event()
        self._command = command
        self._watcher = watcher
        self._environ = environ
        self._pass_fds = tuple(pass_fds)
        self._pause_first = pause_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ever_ready = False

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def keep_running(self) -> None:
        """Run the process until `terminate`; start it again when it dies. Returns when it has ended."""
        deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            exit_code = await self._run_once()
            if self._stopping.is_set() or not self._is_wanted_again(exit_code):
                return
            deaths = 1 if time.monotonic() - started >= WELL_AFTER_SECONDS else deaths + 1
            if deaths >= HOPELESS_DEATHS and not self._ever_ready:
                self.is_hopeless.set()
                return
            pause = min(PAUSE_SECONDS_MAX, self._pause_first * 2 ** (deaths - 1))
            self._watcher.child_died(self.name, exit_code, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    def terminate(self) -> None:
        """Ask the process to end what it does and leave; it is not started again."""
        self._stopping.set()
        self._signal("terminate")

    def kill(self) -> None:
        """End the process at once."""
        self._stopping.set()
        self._signal("kill")

    def _arguments(self) -> Sequence[str]:
        """Return the arguments of the next run."""
        return self._command

    def _is_wanted_again(self, exit_code: int) -> bool:
        """Say whether a process that ended by itself is started again."""
        return True

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Take in what the process says."""
        if message["state"] == "ready":
            self._ever_ready = True
            self.is_ready.set()
            self._watcher.child_ready(self.name)
        else:
            self._watcher.child_not_ready(self.name, str(message.get("reason", "")))

    def _signal(self, how: str) -> None:
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                getattr(self._process, how)()

    async def _run_once(self) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                self._process = process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *self._arguments(),
                    "--lifeline",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=dict(self._environ),
                    pass_fds=(*self._pass_fds, theirs.fileno()),
                    # Its own group: Ctrl-C in a terminal reaches the supervisor alone, which then asks in order.
                    process_group=0,
                )
            if self._stopping.is_set():
                self._signal("terminate")
            listening = asyncio.create_task(self._listen(ours))
            try:
                exit_code = await process.wait()
                await asyncio.wait([listening], timeout=LAST_WORDS_SECONDS)
                return exit_code
            finally:
                self.is_ready.clear()
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        finally:
            ours.close()

    async def _listen(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        pending = b""
        while received := await loop.sock_recv(ours, 4096):
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
