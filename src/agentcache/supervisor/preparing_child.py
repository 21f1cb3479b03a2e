"""The job worker as the supervisor sees it: its first run prepares the installation before it works."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agentcache.supervisor.child import Child, ChildWatcher
from agentcache.supervisor.errors import CannotStart


class PreparingChild(Child):
    """A child that is started with `--prepare` until it has said that the installation is prepared.

    One that refuses to, or ends before it has said anything, is not started again.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        watcher: ChildWatcher,
        *,
        environ: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(name, command, watcher, environ=environ, pass_fds=pass_fds)
        #: What the preparation made, or the `CannotStart` that it came to. Open for ever if the child was told to stop.
        self.preparation: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._refusal: CannotStart | None = None

    def _arguments(self) -> Sequence[str]:
        return self._command if self.preparation.done() else [*self._command, "--prepare"]

    def _is_wanted_again(self, exit_code: int) -> bool:
        if not self.preparation.done():
            without_a_word = CannotStart(f"The preparation ended with code {exit_code} without a word.")
            self.preparation.set_exception(self._refusal or without_a_word)
        return self.preparation.exception() is None

    def _hear(self, message: Mapping[str, Any]) -> None:
        match message["state"]:
            case "prepared":
                self.preparation.set_result(message["outcome"])
            case "refused":
                # It counts once the process has ended.
                self._refusal = CannotStart(str(message["message"]), code=str(message["code"]))
            case _:
                super()._hear(message)
