"""The job worker process.

python -m agentcache.supervisor.worker [--metrics-listener FD] --lifeline FD
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
from agentcache.supervisor.lifeline import Lifeline
from agentcache.supervisor.metrics_port import serve_metrics
from agentcache.supervisor.preparation import database_errors, open_control_plane
from agentcache.supervisor.private_memory import keep_memory_private

NICENESS = 15


def run_worker(
    settings: Settings, lifeline: Lifeline | None = None, metrics_listener: socket.socket | None = None
) -> None:
    """Work jobs off until SIGTERM or SIGINT, then let the running ones end."""
    configure_logging(settings.log_level)
    # Where the machine is short of time, answers come before the keeping of books.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    # See `server.main`.
    gc.disable()
    open_control_plane(settings)
    from agentcache.web.schema import require_current_schema

    with database_errors(settings):
        require_current_schema()
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


def main() -> None:
    """Work until told to stop, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="agentcache-worker")
    parser.add_argument("--metrics-listener", type=int, help="file descriptor of the socket for scrapes")
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor of the supervisor's socket")
    given = parser.parse_args()
    listener = None if given.metrics_listener is None else socket.socket(fileno=given.metrics_listener)
    try:
        settings = Settings.load()
        keep_memory_private(settings)
        run_worker(settings, Lifeline(given.lifeline), listener)
    except AgentCacheError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
