"""`agentcache serve`: one command from nothing to a running server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from agentcache.kit.errors import AgentCacheError

if TYPE_CHECKING:
    from agentcache.settings import Settings
    from agentcache.supervisor.run import Prepared

#: Printed with the name of the process and its exit code.
_DIED = "[yellow]{name} ended with code {code}; it is started again in {pause:g} s[/]"


@dataclass(frozen=True)
class Start:
    """What a server needs to start, checked; nothing has been written yet."""

    settings: Settings
    listener: socket.socket
    metrics_listener: socket.socket | None
    environ: dict[str, str]


def serve(
    workers: Annotated[
        int | None, typer.Option(help="Server processes (AGENTCACHE_WORKERS).", show_default=False)
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (AGENTCACHE_HOST).", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one (AGENTCACHE_PORT).", show_default=False)
    ] = None,
) -> None:
    """Start the server: gateway, control plane and job worker. Ctrl-C stops it in order.

    SIGHUP, sent to a server without a terminal, replaces its server processes one by one and refuses nobody.

    The first start makes a local team and an API key, and shows the key once. While there is no operator, each start
    shows a link for the first one, which ends the link before.
    """
    from agentcache.supervisor.run import Supervisor

    start = prepare_start(overrides(workers=workers, host=host, port=port))
    progress = TerminalProgress(start.settings)

    async def run() -> None:
        await Supervisor(start.settings, start.listener, start.environ, progress, start.metrics_listener).run()

    asyncio.run(run())


def overrides(**given: object) -> dict[str, str]:
    """Turn command line options that were given into settings."""
    return {f"AGENTCACHE_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def prepare_start(overriding: Mapping[str, str]) -> Start:
    """Read the settings, check what can be checked, take the port. Writes nothing; raises the first problem."""
    from agentcache.settings import Settings, environ_with
    from agentcache.supervisor.listening import open_listener
    from agentcache.supervisor.preflight import preflight
    from agentcache.supervisor.private_memory import keep_memory_private

    environ = environ_with(overriding)
    settings = Settings.from_env(environ)
    keep_memory_private(settings)
    preflight(settings)
    listener = open_listener(settings.host, settings.port)
    metrics_listener = None
    if settings.metrics_port is not None:
        try:
            metrics_listener = open_listener(settings.host, settings.metrics_port, "AGENTCACHE_METRICS_PORT")
        except AgentCacheError:
            listener.close()
            raise
    settings = replace(settings, port=listener.getsockname()[1])
    # Absolute and settled, whatever the children's working directory and the port 0.
    environ |= {"AGENTCACHE_DATA_DIR": str(settings.data_dir), "AGENTCACHE_PORT": str(settings.port)}
    return Start(settings, listener, metrics_listener, environ)


class TerminalProgress:
    """Prints how the server is doing."""

    def __init__(self, settings: Settings) -> None:
        from agentcache.cli.output import console

        self._settings = settings
        self._terminal = console()
        self._prepared: Prepared | None = None
        self._is_ready = False
        self._complained: set[tuple[str, str]] = set()

    def prepared(self, prepared: Prepared) -> None:
        """Keep key and link until the server answers, so that they are the last thing on the screen."""
        self._prepared = prepared

    def ready(self, seconds: float) -> None:
        """Say where the server is."""
        settings = self._settings
        self._is_ready = True
        store = "Redis" if settings.redis_url else str(settings.cache_db)
        records = "PostgreSQL" if (settings.database_url or "").startswith("postgres") else str(settings.app_db)
        processes = f"{settings.workers} server process{'es' if settings.workers > 1 else ''}, 1 job worker"
        self._line(f"[bold green]AgentCache is ready[/] on [bold]{settings.origin}[/] after {seconds:.1f} s")
        self._line(f"  entries    {store}\n  records    {records}\n  processes  {processes}")
        self._show_once()
        self._line("[dim]Press Ctrl-C to stop.[/]")

    def child_ready(self, name: str) -> None:
        """Say that a process is back; the first start is `ready`'s business."""
        if self._is_ready:
            self._line(f"[green]{name} serves[/]")

    def child_not_ready(self, name: str, reason: str) -> None:
        """Say once what a process waits for."""
        from rich.markup import escape

        if (name, reason) not in self._complained:
            self._complained.add((name, reason))
            self._line(f"[yellow]{name} is not ready: {escape(reason)}[/]")

    def child_died(self, name: str, exit_code: int, pause_seconds: float) -> None:
        """Say that a process is started again."""
        self._line(_DIED.format(name=name, code=exit_code, pause=pause_seconds))

    def stopping(self, drain_seconds: float) -> None:
        """Say that the end has begun."""
        self._line(f"\nStopping; running requests have up to {drain_seconds:g} s (Ctrl-C again ends at once).")

    def stopped(self) -> None:
        """Say goodbye; a key that was made but never shown is shown now, for it is known to nobody else."""
        self._show_once()
        self._line("AgentCache has stopped.")

    def _show_once(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        if prepared.first_key is not None:
            self._terminal.print(first_steps(prepared.first_key.key, self._settings.origin))
        if prepared.setup_token is not None:
            self._line(f"First operator: {setup_url(self._settings.origin, prepared.setup_token)} (30 minutes, once)")

    def _line(self, text: str) -> None:
        self._terminal.print(text)


def setup_url(origin: str, token: str) -> str:
    """Return the address that makes whoever opens it an operator."""
    return f"{origin}/setup/{token}"


def first_steps(key: str, origin: str) -> str:
    """Return what a newcomer pastes first; the key in it is shown this once."""
    return f"""
Your API key, shown this once: [bold]{key}[/]

  Store an answer, and get it back:

export AGENTCACHE_API_KEY={key}
curl -s {origin}/api/cache/set -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" -H 'Content-Type: application/json' \\
  -d '{{"provider": "openai", "model": "gpt-5-mini", "prompt": "Say hello", "value": "Hello!"}}'
curl -s {origin}/api/cache/get -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" -H 'Content-Type: application/json' \\
  -d '{{"provider": "openai", "model": "gpt-5-mini", "prompt": "Say hello"}}'

  Or change one base URL, and run this twice; the second answer comes from here:

curl -s {origin}/v1/chat/completions -H "Authorization: Bearer $AGENTCACHE_API_KEY" \\
  -H "X-Provider-Key: $OPENAI_API_KEY" -H 'Content-Type: application/json' \\
  -d '{{"model": "gpt-5-mini", "messages": \\[{{"role": "user", "content": "Say hello"}}]}}'
"""
