"""A job worker process that prewarms, for tests that kill it.

python -m tests.support.prewarm_worker_program DATA_DIR LEASE_SECONDS UPSTREAM [DATABASE_URL]
"""

from __future__ import annotations

import asyncio
import sys

from agentcache.settings import Settings
from agentcache.web.project import configure


async def _work(settings: Settings, lease_seconds: float) -> None:
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.worker import JobKind, Worker
    from agentcache.tasks.services import RUN
    from tests.support.prewarming import open_runner

    async with open_runner(settings) as runner:
        kinds = {RUN: JobKind(runner)}
        await Worker(
            DatabaseThreads(answer_within_seconds=60), kinds, lease_seconds=lease_seconds, poll_seconds=0.02
        ).run(asyncio.Event())


if __name__ == "__main__":
    data_dir, lease, upstream, *database_url = sys.argv[1:]
    environ = {"AGENTCACHE_DATA_DIR": data_dir, "AGENTCACHE_UPSTREAM_OPENAI": upstream}
    if database_url:
        environ["AGENTCACHE_DATABASE_URL"] = database_url[0]
    given = Settings.from_env(environ)
    configure(given)
    asyncio.run(_work(given, float(lease)))
