"""A server process: uvicorn with our application on the listening socket it was handed.

python -m agentcache.supervisor.server --listener FD --lifeline FD
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import socket
import sys
from typing import Any

import uvicorn

from agentcache.kit.errors import AgentCacheError
from agentcache.settings import Settings
from agentcache.supervisor import quick_cycle
from agentcache.supervisor.lifeline import Lifeline
from agentcache.supervisor.open_connections import OpenConnections
from agentcache.supervisor.private_memory import keep_memory_private
from agentcache.supervisor.quick_http import QuickHTTP

#: Longer than the pools of the usual clients keep a connection, so that we are seldom the one that closes it.
KEEP_ALIVE_SECONDS = 75
READY_POLL_SECONDS = 0.1
#: How often an unchanged reason for not being ready is told again.
COMPLAIN_SECONDS = 10.0


class Server(uvicorn.Server):
    """Tells the supervisor once a canary request passes, and the application when the end begins."""

    def __init__(self, config: uvicorn.Config, lifeline: Lifeline, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifeline = lifeline
        self._drain_seconds = drain_seconds
        self._watching: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then watch for readiness."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._tell_when_ready())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections and give running requests their time."""
        if self._watching is not None:
            self._watching.cancel()
        begin_drain = getattr(self.config.loaded_app, "begin_drain", None)
        if begin_drain is not None:
            begin_drain(self._drain_seconds)
        await super().shutdown(sockets)

    async def _tell_when_ready(self) -> None:
        gc.enable()  # off since `main`
        waited = 0.0
        while (reason := await self._why_not_ready()) is not None:
            if waited == 0 or waited >= COMPLAIN_SECONDS:
                self._lifeline.not_ready(reason)
                waited = 0.0
            await asyncio.sleep(READY_POLL_SECONDS)
            waited += READY_POLL_SECONDS
        self._lifeline.ready()

    async def _why_not_ready(self) -> str | None:
        """Send GET /readyz through the application itself; None when the answer is 200."""
        status, body = await call_application(self.config.loaded_app, "/readyz")
        if status == 200:
            return None
        try:
            problem = json.loads(body)
            return str(problem.get("detail") or problem.get("title") or status)
        except (ValueError, AttributeError):
            return f"/readyz answers {status}"


async def call_application(application: Any, path: str) -> tuple[int, bytes]:
    """Return status and body of a GET that never leaves the process."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
    status = 0
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    await application(scope, receive, send)
    return status, body


def configure(settings: Settings, application: Any) -> uvicorn.Config:
    """Return how uvicorn runs our application."""
    quick_cycle.install()
    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http=QuickHTTP,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # The application reads X-Forwarded-* itself, as far as AGENTCACHE_TRUSTED_PROXIES believes them.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
    )
    # Where the protocol finds it: uvicorn makes one for each connection, and gives it nothing but its configuration.
    config.open_connections = OpenConnections.of(settings)  # type: ignore[attr-defined]
    return config


def main() -> None:
    """Serve until SIGTERM, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="agentcache-server")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor of the supervisor's socket")
    given = parser.parse_args()
    # Nearly all of what start-up makes stays, so that to look for garbage among it finds none: a tenth of the start.
    gc.disable()
    from agentcache.asgi import create_app

    lifeline = Lifeline(given.lifeline)
    try:
        settings = Settings.load()
        keep_memory_private(settings)
        # Made here and not by uvicorn's factory option, which hides where a failure came from.
        server = Server(configure(settings, create_app()), lifeline, settings.drain_seconds)
        server.run(sockets=[socket.socket(fileno=given.listener)])
    except AgentCacheError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
