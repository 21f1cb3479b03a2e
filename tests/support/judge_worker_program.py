"""A process that asks judges, for a test that kills it.

python -m tests.support.judge_worker_program DATA_DIR UPSTREAM [DATABASE_URL]
"""

from __future__ import annotations

import asyncio
import sys

from agentcache.settings import Settings
from agentcache.web.project import configure


async def _work(settings: Settings) -> None:
    from agentcache.web.jobs import open_judging

    async with open_judging(settings) as judging:
        await judging.run(asyncio.Event())


if __name__ == "__main__":
    data_dir, upstream, *database_url = sys.argv[1:]
    environ = {"AGENTCACHE_DATA_DIR": data_dir, "AGENTCACHE_UPSTREAM_OPENAI": upstream}
    if database_url:
        environ["AGENTCACHE_DATABASE_URL"] = database_url[0]
    given = Settings.from_env(environ)
    configure(given)
    asyncio.run(_work(given))
