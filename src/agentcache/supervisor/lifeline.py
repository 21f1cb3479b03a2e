"""The child's end of its connection to the supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Mapping
from typing import Any


class Lifeline:
    """Tells the supervisor how we are, and ends this process when the supervisor is gone."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def ready(self) -> None:
        """Say that this process serves."""
        self._tell({"state": "ready"})

    def not_ready(self, reason: str) -> None:
        """Say why this process cannot serve yet."""
        self._tell({"state": "not-ready", "reason": reason})

    def prepared(self, outcome: Mapping[str, Any]) -> None:
        """Say that the installation is prepared, and what that made: it may hold secrets, and is told nowhere else."""
        self._tell({"state": "prepared", "outcome": outcome})

    def refused(self, code: str, message: str) -> None:
        """Say why the installation cannot be prepared."""
        self._tell({"state": "refused", "code": code, "message": message})

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # the watcher thread sees the same end

    def _watch(self) -> None:
        try:
            while self._socket.recv(64):
                pass
        except OSError:
            pass
        # The supervisor was killed: nobody else would stop us.
        os.kill(os.getpid(), signal.SIGTERM)
