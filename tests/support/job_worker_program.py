"""A job worker process for tests: appends a line to a file when a job begins and when it ends.

python -m tests.support.job_worker_program DATA_DIR FILE SECONDS_PER_JOB LEASE_SECONDS [DATABASE_URL]
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from agentcache.settings import Settings
from agentcache.web.project import configure


async def _work(file: Path, seconds_per_job: float, lease_seconds: float) -> None:
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.worker import JobKind, Worker

    def write(line: str) -> None:
        with file.open("a") as out:
            out.write(f"{line}\n")

    async def work(payload: dict[str, object]) -> None:
        write(f"begin {payload['number']}")
        await asyncio.sleep(seconds_per_job)
        write(f"end {payload['number']}")

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    threads = DatabaseThreads(answer_within_seconds=60)
    worker = Worker(threads, {"work": JobKind(work)}, lease_seconds=lease_seconds, poll_seconds=0.05, concurrency=2)
    await worker.run(stop, drain_seconds=0.0)
    threads.close()


if __name__ == "__main__":
    data_dir, file, seconds_per_job, lease_seconds, *database_url = sys.argv[1:]
    environ = {"AGENTCACHE_DATA_DIR": data_dir}
    if database_url:
        environ["AGENTCACHE_DATABASE_URL"] = database_url[0]
    configure(Settings.from_env(environ))
    asyncio.run(_work(Path(file), float(seconds_per_job), float(lease_seconds)))
