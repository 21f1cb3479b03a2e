"""Server processes that never outlive the tests, even when those are killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

#: How long a condition is waited for that nothing but a busy machine delays. A test ends after 120 s.
PATIENCE_SECONDS = 60.0

# The shell waits for the end of its input, which comes when the test process is gone, however it went.
_GUARD = """
log=$1; ending=$2; shift 2
exec 2>>"$log"
"$@" >>"$log" 2>&1 </dev/null &
pid=$!
echo $pid
cat >/dev/null
kill -CONT $pid 2>/dev/null
kill -$ending $pid 2>/dev/null
wait $pid
"""


class GuardedProcess:
    """A child process with a log file; `stop()` sends `ending` and waits. `user` needs root."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        ending: str = "KILL",
        user: int | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(log), ending, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=dict(environ) if environ is not None else None,
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    @property
    def is_running(self) -> bool:
        """Whether the process is there and not a zombie."""
        return is_running(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.wait_gone()

    def freeze(self) -> None:
        """Stop the process (SIGSTOP): its sockets stay open, nothing is answered."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self.send(signal.SIGCONT)

    def wait_gone(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the process has ended. Raises `TimeoutError`."""
        wait_until(lambda: not self.is_running, seconds, f"process {self.pid} to end")

    def stop(self) -> None:
        """End the process and its guard; does nothing the second time."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        if self._guard.poll() is None:
            self._guard.stdin.close()
            self._guard.wait(20)
        self._guard.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie; it may end between two looks at it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS, what: str = "the condition") -> None:
    """Ask `condition` until it holds, ever less often, at least every quarter second. Raises `TimeoutError`."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(pause)
        pause = min(1.25 * pause, 0.25)


def free_port(also_plus: int = 0) -> int:
    """Return a free loopback port; with `also_plus`, the port that much higher is free too.

    From below those that a kernel gives to connections: one of these may be a connection's before the server has it.
    """
    for _ in range(200):
        port = 10_000 + secrets.randbelow(20_000 - also_plus)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            if also_plus:
                second.bind(("127.0.0.1", port + also_plus))
            return port
    raise OSError("no free port pair")


def wait_for_port(port: int, process: GuardedProcess, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something accepts on a loopback port. Raises `RuntimeError` with the log when the process ended."""

    def accepts() -> bool:
        if not process.is_running:
            raise RuntimeError(f"process {process.pid} ended early:\n{process.log.read_text(errors='replace')[-4000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(accepts, seconds, f"port {port}")
