"""A job worker process that delivers webhooks and does tasks, for tests that kill it.

python -m tests.support.webhook_worker_program DATA_DIR LEASE_SECONDS STEP_SECONDS [DATABASE_URL]
"""

from __future__ import annotations

import asyncio
import sys

from agentcache.settings import Settings
from agentcache.web.project import configure


async def _work(settings: Settings, lease_seconds: float, step_seconds: float) -> None:
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.worker import Pool, Workers
    from agentcache.kit.clock import SystemClock
    from agentcache.kit.egress.guarded import GuardedClient
    from agentcache.tasks.jobs import TaskContext
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.web.jobs import webhook_and_task_kinds
    from agentcache.webhooks.jobs import LIMITS

    whole_step = TaskContext.step

    async def slow_step(self, work):
        progress = await whole_step(self, work)
        await asyncio.sleep(step_seconds)
        return progress

    TaskContext.step = slow_step  # type: ignore[method-assign]  # so that there is a middle to be killed in
    pools = {pool: DatabaseThreads(answer_within_seconds=60) for pool in Pool}
    client = GuardedClient(settings.egress_allow, LIMITS)
    kinds = webhook_and_task_kinds(pools, ServerSecrets.of(settings), client, SystemClock())
    workers = Workers(pools, kinds, lease_seconds=lease_seconds, poll_seconds=0.02)
    await workers.run(asyncio.Event())


if __name__ == "__main__":
    data_dir, lease_seconds, step_seconds, *database_url = sys.argv[1:]
    environ = {"AGENTCACHE_DATA_DIR": data_dir, "AGENTCACHE_EGRESS_ALLOW": "127.0.0.1"}
    if database_url:
        environ["AGENTCACHE_DATABASE_URL"] = database_url[0]
    given = Settings.from_env(environ)
    configure(given)
    asyncio.run(_work(given, float(lease_seconds), float(step_seconds)))
