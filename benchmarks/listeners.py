"""`make bench-watch`: how late 10,000 listeners are checked by one job worker, with a real web server on loopback.

    python -m benchmarks.listeners [--listeners 10000] [--hosts 1000] [--interval 900] [--seconds 600]

Half of the pages have validators, the others are sent whole with furniture that changes each time; some really change. The
worker is `agentcache worker` on SQLite, with its reading process beside it. Lag is how long the longest overdue listener has
waited, asked of the database ten times a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.servers import free_port, process, wait_for

FILL = """
import sys
from agentcache.settings import Settings
from agentcache.web.project import configure
configure(Settings.load())
from agentcache.web.schema import migrate
migrate()
from benchmarks.listeners import fill
fill(*map(int, sys.argv[1:]))
"""


def fill(listeners: int, hosts: int, interval: int, port: int) -> None:
    """Make a team and its listeners, due evenly over an interval. Runs in a process of its own, with Django."""
    from agentcache.listeners.models import Listener
    from agentcache.teams.secrets import current_secrets
    from agentcache.teams.services import create_team

    team = create_team(current_secrets(), "Bench")
    now = datetime.now(UTC)
    rows = []
    for number in range(listeners):
        host = f"127.{number % hosts // 250 + 1}.{number % hosts % 250 + 1}.1"
        rows.append(
            Listener(
                team=team, url=f"http://{host}:{port}/p/{number}", host=host, fingerprint=str(number),
                check_interval_seconds=interval, next_check_at=now + timedelta(seconds=interval * number / listeners),
            )
        )  # fmt: skip
    Listener.objects.bulk_create(rows, batch_size=500)


class Sampling(threading.Thread):
    """Asks the database how late the worker is, and the system what it uses."""

    def __init__(self, app_db: Path, worker: int) -> None:
        super().__init__(daemon=True)
        self._path, self._worker = app_db, psutil.Process(worker)
        self.lags: list[float] = []
        self.is_over = threading.Event()
        self.memory_mib = 0.0

    def run(self) -> None:
        import pysqlite3 as sqlite3

        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
        asking = (
            "SELECT min(next_check_at) FROM listeners_listener WHERE paused_because = '' AND next_check_at <= ?"
            " AND (claimed_until IS NULL OR claimed_until < ?)"
        )
        while not self.is_over.wait(0.1):
            now = datetime.now(UTC)
            stamp = now.strftime("%Y-%m-%d %H:%M:%S.%f")
            oldest = connection.execute(asking, (stamp, stamp)).fetchone()[0]
            due = datetime.fromisoformat(oldest).replace(tzinfo=UTC) if oldest else now
            self.lags.append((now - due).total_seconds())
            self.memory_mib = max(self.memory_mib, sum(one.memory_info().rss for one in self.family()) / 2**20)
        connection.close()

    def family(self) -> list[psutil.Process]:
        return [self._worker, *self._worker.children(recursive=True)]

    def processor_seconds(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.family())


def measure(listeners: int, hosts: int, interval: int, seconds: float, changes_per_second: float) -> dict[str, Any]:
    """Run the worker and return the figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentcache-bench-")))
        environ = {
            "AGENTCACHE_DATA_DIR": str(folder),
            "AGENTCACHE_EGRESS_ALLOW": "127.0.0.0/8",
            "AGENTCACHE_LOG_LEVEL": "warning",
        }
        port = free_port()
        stack.enter_context(process("benchmarks.watched_pages", str(port), str(listeners), str(changes_per_second)))
        wait_for(port)
        numbers = [str(one) for one in (listeners, hosts, interval, port)]
        subprocess.run([sys.executable, "-c", FILL, *numbers], env={**os.environ, **environ}, check=True)
        worker = stack.enter_context(process("agentcache", "worker", **environ))
        # The first round reads every page for the first time; both rounds are measured.
        sampling = Sampling(folder / "app.db", worker.pid)
        time.sleep(2)
        sampling.start()
        started, processor = time.monotonic(), sampling.processor_seconds()
        time.sleep(seconds)
        lasted = time.monotonic() - started
        processor = sampling.processor_seconds() - processor
        sampling.is_over.set()
        sampling.join()
        return {
            "seconds": lasted,
            "cores": processor / lasted,
            "memory_mib": sampling.memory_mib,
            "lag_max": max(sampling.lags),
            "lag_p99": statistics.quantiles(sampling.lags, n=100)[98],
            "lag_median": statistics.median(sampling.lags),
            **_found(folder / "app.db"),
        }


def _found(app_db: Path) -> dict[str, int]:
    import pysqlite3 as sqlite3

    connection = sqlite3.connect(f"file:{app_db}?mode=ro", uri=True, timeout=10)
    row = connection.execute(
        "SELECT sum(checks), sum(changes), sum(failures_in_row > 0), count(*) FROM listeners_listener"
    )
    checks, changes, failing, count = row.fetchone()
    connection.close()
    return {"checks": checks, "changes": changes, "failing": failing, "listeners": count}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=1_000)
    parser.add_argument("--interval", type=int, default=900, help="seconds between two checks of one source")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--changes", type=float, default=2.0, help="pages that really change each second")
    given = parser.parse_args()
    found = measure(given.listeners, given.hosts, given.interval, given.seconds, given.changes)
    table = Table(
        "what", "figure", title=f"{given.listeners:,} listeners every {given.interval} s on {given.hosts:,} hosts"
    )
    table.add_row("measured for", f"{found['seconds']:.0f} s")
    table.add_row("checks, changes seen, failing", f"{found['checks']:,}, {found['changes']:,}, {found['failing']:,}")
    table.add_row(
        "lag: median, p99, worst", f"{found['lag_median']:.2f}, {found['lag_p99']:.2f}, {found['lag_max']:.2f} s"
    )
    table.add_row("worst lag ÷ interval", f"{100 * found['lag_max'] / given.interval:.2f} % (bound: 10 %)")
    table.add_row("processor: worker and its reader", f"{found['cores']:.2f} cores")
    table.add_row("memory: worker and its reader", f"{found['memory_mib']:.0f} MiB")
    Console(width=100).print(table)
    if found["lag_max"] > given.interval / 10:
        sys.exit("the bound does not hold")


if __name__ == "__main__":
    main()
