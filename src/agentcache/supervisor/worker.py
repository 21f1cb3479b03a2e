"""The job worker process; its first run prepares the installation before it works.

python -m agentcache.supervisor.worker [--prepare] [--metrics-listener FD] --lifeline FD
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys

from agentcache.gateway.metrics import CONTENT_TYPE, Metrics
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.logs import configure_logging
from agentcache.settings import Settings
from agentcache.supervisor.errors import CannotStart
from agentcache.supervisor.lifeline import Lifeline
from agentcache.supervisor.metrics_port import serve_metrics
from agentcache.supervisor.preparation import bring_up_to_date, database_errors, open_control_plane
from agentcache.supervisor.private_memory import keep_memory_private

NICENESS = 15
_PREPARE = "--prepare"


def run_worker(
    settings: Settings,
    lifeline: Lifeline | None = None,
    metrics_listener: socket.socket | None = None,
    *,
    is_prepared: bool = False,
) -> None:
    """Work jobs off until SIGTERM or SIGINT, then let the running ones end; `is_prepared` if this process did that."""
    configure_logging(settings.log_level)
    # Where the machine is short of time, answers come before the keeping of books. Where a sandbox forbids to ask for less
    # of it, the worker runs as it is.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    # See `server.main`.
    gc.disable()
    if not is_prepared:
        open_control_plane(settings)
        from agentcache.web.schema import require_current_schema

        with database_errors(settings):
            require_current_schema()
    from django.db import connections

    # What works has connections of its own.
    connections.close_all()
    asyncio.run(_work(settings, lifeline, metrics_listener))


async def _work(settings: Settings, lifeline: Lifeline | None, metrics_listener: socket.socket | None) -> None:
    from agentcache.web.jobs import open_judging, open_refreshing, open_usage_ingest, open_watch, open_worker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        worker = await stack.enter_async_context(open_worker(settings))
        if metrics_listener is not None:
            # Here rather than in a server process: a scrape sums files up, and must not hold up a hit.
            metrics = Metrics(settings.run_dir)
            await stack.enter_async_context(serve_metrics(metrics_listener, metrics.exposition, CONTENT_TYPE))
        ingest = await stack.enter_async_context(open_usage_ingest(settings))
        watch = await stack.enter_async_context(open_watch(settings))
        refreshing = await stack.enter_async_context(open_refreshing(settings))
        judging = await stack.enter_async_context(open_judging(settings))
        gc.freeze()
        gc.enable()
        if lifeline is not None:
            lifeline.ready()
        async with asyncio.TaskGroup() as all_five:
            # Beside its servers it leaves last, for their last usage; alone it waits for nobody.
            all_five.create_task(ingest.run(stop, settings.drain_seconds if lifeline is not None else 0.0))
            all_five.create_task(watch.run(stop, settings.drain_seconds))
            all_five.create_task(refreshing.run(stop, settings.drain_seconds))
            all_five.create_task(judging.run(stop, settings.drain_seconds))
            all_five.create_task(worker.run(stop, settings.drain_seconds))


def prepare(lifeline: Lifeline) -> Settings:
    """Bring the installation up to date and tell the supervisor what that made; return in a process that is fit to work.

    Ends the process when it cannot be done. The supervisor is told why, and says it.
    """
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        outcome = bring_up_to_date(settings)
    except AgentCacheError as error:
        lifeline.refused(error.code, error.message)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must be told that it cannot start
        lifeline.refused(CannotStart.code, f"The preparation failed: {type(error).__name__}: {error}")
        sys.exit(1)
    lifeline.prepared(outcome)
    if outcome["applied"]:
        # To migrate took memory, a part of which this process would keep for good; a new program begins without.
        arguments = [argument for argument in sys.argv[1:] if argument != _PREPARE]
        command = [sys.executable, "-m", "agentcache.supervisor.worker", *arguments]
        os.execv(sys.executable, command)  # noqa: S606 - this very program, with the arguments that the supervisor gave
    return settings


def load_settings() -> Settings:
    """Read the settings of this process, and do with its memory as they say."""
    settings = Settings.load()
    keep_memory_private(settings)
    return settings


def main() -> None:
    """Work until told to stop, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="agentcache-worker")
    parser.add_argument(_PREPARE, action="store_true", help="bring the installation up to date first")
    parser.add_argument("--metrics-listener", type=int, help="file descriptor of the socket for scrapes")
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor of the supervisor's socket")
    given = parser.parse_args()
    listener = None if given.metrics_listener is None else socket.socket(fileno=given.metrics_listener)
    lifeline = Lifeline(given.lifeline)
    try:
        settings = prepare(lifeline) if given.prepare else load_settings()
        run_worker(settings, lifeline, listener, is_prepared=given.prepare)
    except AgentCacheError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
