"""Starts what is measured: the real `agentcache serve`, the bundled fake provider, the empty server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Load

#: Server on one processor, load generator on another, where there are two.
SERVER_CPU, LOAD_CPU = (0, 1) if (os.cpu_count() or 1) > 1 else (None, None)


@dataclass
class Served:
    """A running product."""

    port: int
    key: str
    data_dir: Path
    process: subprocess.Popen[str]
    ready_seconds: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a caller."""
        return {"Authorization": f"Bearer {self.key}", "X-Provider-Key": "sk-bench"}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(
    *arguments: str, cpu: int | None = None, is_read: bool = False, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a Python module in a process of its own, on one processor; `is_read` when the caller reads its `stdout` to the end.

    A pipe that nobody reads fills up, and holds up whoever writes to it.
    """
    running = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE if is_read else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        # Children inherit it; the few milliseconds before this line do not matter.
        os.sched_setaffinity(running.pid, {cpu})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def fake_provider(cpu: int | None = LOAD_CPU) -> Iterator[int]:
    """Run the bundled fake provider; yield its port."""
    port = free_port()
    with process("agentcache.demo.fake_provider", "--port", str(port), cpu=cpu):
        wait_for(port)
        yield port


@contextlib.contextmanager
def empty_server(body_bytes: int) -> Iterator[int]:
    """Run the yardstick; yield its port."""
    port = free_port()
    with process("benchmarks.empty_server", str(port), str(body_bytes), cpu=SERVER_CPU):
        wait_for(port)
        yield port


@contextlib.contextmanager
def agentcache(
    provider_port: int,
    data_dir: Path | None = None,
    *,
    workers: int = 1,
    cpu: int | None = SERVER_CPU,
    scopes: tuple[str, ...] = (),
    **settings: str,
) -> Iterator[Served]:
    """Run the whole product on the embedded stores; yield it once it is ready. `scopes` are its key's, `settings` win."""
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentcache-bench-")))
        environ = {
            "AGENTCACHE_DATA_DIR": str(folder),
            "AGENTCACHE_PORT": str(free_port()),
            "AGENTCACHE_WORKERS": str(workers),
            "AGENTCACHE_UPSTREAM_OPENAI": f"http://127.0.0.1:{provider_port}",
            **settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        # For whoever fills the cache from outside: the address is part of every key.
        (folder / "bench-upstream").write_text(environ["AGENTCACHE_UPSTREAM_OPENAI"])
        started = time.monotonic()
        running = stack.enter_context(process("agentcache", "serve", cpu=cpu, **environ))
        port = int(environ["AGENTCACHE_PORT"])
        wait_until_ready(port)
        ready = time.monotonic() - started
        yield Served(port, _new_key(environ, scopes), folder, running, ready)


def _new_key(environ: dict[str, str], scopes: tuple[str, ...]) -> str:
    asked = [word for scope in scopes for word in ("--scope", scope)]
    made = subprocess.run(
        [sys.executable, "-m", "agentcache", "keys", "create", "--name", "bench", "--json", *asked],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return str(json.loads(made.stdout)["key"])


def wait_for(port: int, seconds: float = 20.0) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.02)


def wait_until_ready(port: int, seconds: float = 60.0) -> None:
    """Wait until a canary request passes."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not get ready")
        time.sleep(0.02)


def run_load(load: Load) -> dict[str, Any]:
    """Run a load in a process of its own and return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["failures"]:
        raise RuntimeError(f"{figures['failures']} requests failed")
    return figures


def memory_mib(root: subprocess.Popen[str]) -> dict[str, float]:
    """Return resident memory by process, root and all below it, in MiB (Linux)."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            parent = re.search(r"^PPid:\s+(\d+)", status.read_text(), re.MULTILINE)
            if parent:
                children.setdefault(int(parent[1]), []).append(int(status.parent.name))
    sizes: dict[str, float] = {}
    waiting = [root.pid]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        with contextlib.suppress(OSError):
            resident = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            name = next((word for word in words if word.startswith("agentcache")), words[0])
            sizes[f"{name} ({pid})"] = int(resident[1]) / 1024 if resident else 0.0
    return sizes
