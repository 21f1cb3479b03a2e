"""The job worker process.

python -m agentcache.supervisor.worker [--lifeline FD]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from agentcache.kit.errors import AgentCacheError
from agentcache.kit.logs import configure_logging
from agentcache.settings import Settings
from agentcache.supervisor.lifeline import Lifeline
from agentcache.supervisor.preparation import database_errors, open_control_plane


def run_worker(settings: Settings, lifeline: Lifeline | None = None) -> None:
    """Work jobs off until SIGTERM or SIGINT, then let the running ones end."""
    configure_logging(settings.log_level)
    open_control_plane(settings)
    from agentcache.web.schema import require_current_schema

    with database_errors(settings):
        require_current_schema()
    asyncio.run(_work(settings, lifeline))


async def _work(settings: Settings, lifeline: Lifeline | None) -> None:
    from agentcache.web.jobs import open_worker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with open_worker(settings) as worker:
        if lifeline is not None:
            lifeline.ready()
        await worker.run(stop, settings.drain_seconds)


def main() -> None:
    """Work until told to stop, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="agentcache-worker")
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor of the supervisor's socket")
    given = parser.parse_args()
    try:
        run_worker(Settings.load(), Lifeline(given.lifeline))
    except AgentCacheError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
