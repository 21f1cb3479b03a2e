"""An ASGI app under the real server (uvicorn, uvloop, httptools) on a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from tests.support.guarded import GuardedProcess, free_port, wait_for_port


class ASGIServer:
    """Runs an app in a thread of the test process: `with ASGIServer(app) as server: get(server.url)`."""

    def __init__(self, app: Any, **config: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        settings = {"loop": "uvloop", "http": "httptools", "log_config": None, "timeout_graceful_shutdown": 5, **config}
        self._server = uvicorn.Server(uvicorn.Config(app, **settings))
        self._thread = threading.Thread(target=self._run, name="asgi-server", daemon=True)
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Return once the app's lifespan has started. Raises `RuntimeError` when it could not."""
        self._thread.start()
        while not self._server.started and not self._ended.wait(0.002):
            pass
        if not self._server.started:
            self.stop()
            raise RuntimeError("the app did not start") from self._failure
        return self

    def stop(self) -> None:
        """Shut down gracefully, lifespan included, and free the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not stop within 20 s"

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001 - raised again by start()
            self._failure = error
        finally:
            self._ended.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class ASGIProcess:
    """Runs `module:app` in processes of its own (`workers` of them), for tests that kill or count processes."""

    def __init__(self, app: str, *, workers: int = 1, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="agentcache-asgi-")
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environ or {})}
        self._command = [
            sys.executable, "-m", "uvicorn", app, "--port", str(self.port), "--workers", str(workers),
            "--loop", "uvloop", "--http", "httptools", "--no-access-log",
        ]  # fmt: skip
        self.process: GuardedProcess

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Return once the port accepts. Raises `RuntimeError` with the log when the process ended."""
        log = Path(self._folder.name) / "server.log"
        self.process = GuardedProcess(self._command, log=log, ending="TERM", environ=self._environ)
        wait_for_port(self.port, self.process)
        return self

    def log(self) -> str:
        """Return what the server wrote so far."""
        return self.process.log.read_text(errors="replace")

    def terminate(self) -> None:
        """Send SIGTERM and wait for the graceful end."""
        self.process.send(signal.SIGTERM)
        self.process.wait_gone(40)

    def stop(self) -> None:
        """End it, gracefully if it still runs."""
        self.process.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
