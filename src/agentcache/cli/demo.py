"""`agentcache demo`: a server, a bundled provider, a few hundred prompts twice, and what that saved."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentcache.kit.errors import AgentCacheError

if TYPE_CHECKING:
    from agentcache.cli.serve import Start
    from agentcache.demo.run import Round
    from agentcache.supervisor.run import Prepared

#: How long the bundled provider thinks; real ones take longer.
PROVIDER_LATENCY_MS = 150
#: Whose APIs the prompts speak.
PROVIDERS = ("OPENAI", "ANTHROPIC", "TOGETHER")


class ProviderDidNotStart(AgentCacheError):
    """The bundled provider did not start."""

    code = "demo_failed"


def demo(
    port: Annotated[
        int | None, typer.Option(help="Port of the server; 0 takes a free one.", show_default=False)
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="Stop after the figures instead of leaving the server up.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Start a server with a bundled fake provider, send a few hundred prompts twice, and show what the cache saves.

    Works in a directory of its own, which is gone afterwards; nothing leaves this machine and nothing costs money.
    """
    from agentcache.cli.serve import overrides, prepare_start

    with tempfile.TemporaryDirectory(prefix="agentcache-demo-") as folder, _provider() as provider_url:
        redirected = {f"AGENTCACHE_UPSTREAM_{name}": f"{provider_url}/{name.lower()}" for name in PROVIDERS}
        own = {
            "AGENTCACHE_DATA_DIR": str(Path(folder) / "data"),
            "AGENTCACHE_DATABASE_URL": "",
            "AGENTCACHE_REDIS_URL": "",
        }
        start = prepare_start({**overrides(port=port), **redirected, **own})
        asyncio.run(_run(start, leave=leave, as_json=as_json))


async def _run(start: Start, *, leave: bool, as_json: bool) -> None:
    from agentcache.cli.output import console
    from agentcache.cli.serve import setup_url
    from agentcache.supervisor.run import Supervisor

    progress = QuietProgress()
    supervisor = Supervisor(start.settings, start.listener, start.environ, progress, start.metrics_listener)
    running = asyncio.create_task(supervisor.run())
    try:
        key, setup_token = await progress.until_ready(running)
        figures = await _measure(f"http://{_address(start)}", key, as_json=as_json)
        _show(figures, as_json=as_json)
        if not leave:
            origin = f"http://{_address(start)}"
            operator = f"First operator: {setup_url(origin, setup_token)} (30 minutes, once)\n" if setup_token else ""
            console(stderr=as_json).print(
                f"\nThe server stays up on [bold]{origin}[/], with the API key [bold]{key}[/]\n{operator}"
                "[dim]Press Ctrl-C to stop.[/]"
            )
            await running
    finally:
        if not running.done():
            supervisor.stop()
        await running


def _address(start: Start) -> str:
    host, port = (
        start.listener.getsockname()[:2] if start.listener.fileno() >= 0 else ("127.0.0.1", start.settings.port)
    )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _measure(base_url: str, key: str, *, as_json: bool) -> tuple[Round, Round]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from agentcache.cli.output import console
    from agentcache.demo.prompts import load_prompts
    from agentcache.demo.run import send_round

    calls = load_prompts()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(stderr=True), disable=as_json) as bars:
        bar = bars.add_task("first time, from the provider", total=len(calls))
        first = await send_round(base_url, key, calls, partial(bars.advance, bar))
        bar = bars.add_task("second time, from the cache", total=len(calls))
        # One at a time: a hit is so quick that this program's own queue would be what is measured.
        second = await send_round(base_url, key, calls, partial(bars.advance, bar), concurrency=1)
    return first, second


def _show(figures: tuple[Round, Round], *, as_json: bool) -> None:
    from agentcache.cli.output import console, print_json, print_table

    documents = [_document(figure) for figure in figures]
    if as_json:
        print_json({"first": documents[0], "second": documents[1]})
        return
    print_table(
        "What the cache did",
        ("", "prompts", "hits", "p50", "p95", "saved"),
        (
            (
                title,
                document["prompts"],
                document["hits"],
                f"{document['latency_ms_p50']:.1f} ms",
                f"{document['latency_ms_p95']:.1f} ms",
                f"${float(document['saved_usd']):.4f}",
            )
            for title, document in zip(("first time", "second time"), documents, strict=True)
        ),
        empty="",
    )
    second = documents[1]
    console().print(
        f"{second['hits']} of {second['prompts']} answers came from the cache and saved "
        f"[bold green]${float(second['saved_usd']):.4f}[/] at the providers' list prices."
    )


def _document(figure: Round) -> dict[str, Any]:
    return {
        "prompts": len(figure.answers),
        "hits": figure.hits,
        "latency_ms_p50": round(figure.latency_ms(50), 3),
        "latency_ms_p95": round(figure.latency_ms(95), 3),
        "saved_usd": str(figure.saved_usd),
    }


class QuietProgress:
    """Keeps key and link, and says nothing unless something goes wrong."""

    def __init__(self) -> None:
        self._prepared: Prepared | None = None
        self._ready = asyncio.Event()

    async def until_ready(self, running: asyncio.Task[None]) -> tuple[str, str | None]:
        """Return the API key, and the token of the link for the first operator, once the server is up; raises what the supervisor raised when it does not come up."""
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        prepared = self._prepared
        if prepared is None or prepared.first_key is None or not self._ready.is_set():
            await running
            raise typer.Exit(130)
        return prepared.first_key.key, prepared.setup_token

    def prepared(self, prepared: Prepared) -> None:
        """Keep what was made."""
        self._prepared = prepared

    def ready(self, seconds: float) -> None:
        """Let the prompts go."""
        self._ready.set()

    def child_ready(self, name: str) -> None:
        """Nothing to say."""

    def child_not_ready(self, name: str, reason: str) -> None:
        """Say what a process waits for."""
        from agentcache.cli.output import console

        console(stderr=True).print(f"[yellow]{name} is not ready: {reason}[/]")

    def child_died(self, name: str, exit_code: int, pause_seconds: float) -> None:
        """Say that a process is started again."""
        from agentcache.cli.output import console

        console(stderr=True).print(f"[yellow]{name} ended with code {exit_code}[/]")

    def stopping(self, drain_seconds: float) -> None:
        """Nothing to say."""

    def stopped(self) -> None:
        """Nothing to say."""


@contextlib.contextmanager
def _provider() -> Iterator[str]:
    """Run the bundled provider in a process of its own on a free port and give its URL."""
    command = [sys.executable, "-m", "agentcache.demo.fake_provider", "--port", "0"]
    command += ["--latency-ms", str(PROVIDER_LATENCY_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:  # noqa: S603 - our own
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            if not said:
                raise ProviderDidNotStart
            yield said[-1]
        finally:
            process.terminate()
