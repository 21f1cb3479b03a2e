"""A whole AgentCache as a user starts it: `agentcache serve` in processes of its own, over real sockets and files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

READY = re.compile(r"AgentCache is ready on (\S+)")
KEY = re.compile(r"ac_live_[0-9A-Za-z]{38}")


class ServerProcess:
    """Runs `agentcache serve` on a free port until `stop`; use as a context manager."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        python: Sequence[str] = (sys.executable,),
        **settings: str,
    ) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
        self.environ = inherited | {"AGENTCACHE_DATA_DIR": str(data_dir), "AGENTCACHE_DRAIN_SECONDS": "5"} | settings
        self._command = [*python, "-m", "agentcache", "serve", "--port", "0", *arguments]
        self._ready = threading.Event()
        self._lines: list[str] = []
        self.url = ""
        self.key = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(180) or not self.url:
            self.stop(signal.SIGKILL)
            raise RuntimeError(f"the server did not become ready:\n{self.output}")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """Everything that was printed so far."""
        return "".join(self._lines)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal unless it has ended, wait for the end and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            code = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another `agentcache` command with the same settings, and this server as the one it speaks to."""
        environ = self.environ | {"AGENTCACHE_BASE_URL": self.url, "AGENTCACHE_API_KEY": self.key}
        command = [sys.executable, "-m", "agentcache", *arguments]
        return subprocess.run(command, env=environ, input=stdin, capture_output=True, text=True, timeout=120)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if found := READY.search(line):
                self.url = found[1]
            if not self.key and (found := KEY.search(line)):
                self.key = found[0]
            if "Press Ctrl-C to stop" in line:
                self._ready.set()
        self._ready.set()
