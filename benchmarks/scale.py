"""Hit latency of the full path with a million entries against ten thousand, and what a second worker brings.

python -m benchmarks.scale [--large 1000000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.hits import CHAT, HIT_BODIES, PATH, fill
from benchmarks.load import Load
from benchmarks.servers import LOAD_CPU, Served, agentcache, fake_provider, run_load

SMALL = 10_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    table = Table("what", "figure", "detail", title="Size and workers")
    with fake_provider() as provider:
        _measure_sizes(table, provider, given.large, given.rounds, given.seconds)
        _measure_workers(table, provider, given.rounds, given.seconds)
    Console(width=120).print(table)


def _measure_sizes(table: Table, provider: int, large: int, rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="agentcache-scale-") as folder, contextlib.ExitStack() as stack:
        servers = {}
        for entries in (SMALL, large):
            data_dir = Path(folder) / str(entries)
            # The server makes team and key, then the file is filled by a process of its own, through the store.
            with agentcache(provider, data_dir):
                pass
            subprocess.run([sys.executable, "-m", "benchmarks.scale_fill", str(data_dir), str(entries)], check=True)
            servers[entries] = stack.enter_context(agentcache(provider, data_dir))
        measured: list[tuple[float, float]] = []
        for _ in range(rounds):
            few, many = (_random_hits(servers[entries], entries, seconds) for entries in (SMALL, large))
            measured.append((few, many))
        ratio = statistics.median(many / few for few, many in measured)
        detail = ", ".join(f"{many:.0f}/{few:.0f} µs" for few, many in measured)
        table.add_row(f"hit p50 at {large:,} entries ÷ at {SMALL:,}", f"{ratio:.2f}", detail)


def _random_hits(served: Served, entries: int, seconds: float) -> float:
    # A new starting point each round: nothing asked for is what was asked for just before.
    load = Load(
        served.port, PATH, [CHAT % "{n}"], served.headers, 1, seconds,
        first=time.time_ns() % entries, distinct=entries, cpu=LOAD_CPU,
    )  # fmt: skip
    figures = run_load(load)
    if figures["hits"] != figures["requests"]:
        raise RuntimeError("not every answer was a hit")
    return float(figures["p50_us"])


def _measure_workers(table: Table, provider: int, rounds: int, seconds: float) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    with agentcache(provider, workers=1, cpu=None) as one, agentcache(provider, workers=2, cpu=None) as two:
        for served in (one, two):
            fill(served)
        for _ in range(rounds):
            for workers, served in ((1, one), (2, two)):
                figures = run_load(Load(served.port, PATH, HIT_BODIES, served.headers, 32, seconds))
                rates[workers].append(figures["per_second"])
    ratio = statistics.median(b / a for a, b in zip(rates[1], rates[2], strict=True))
    table.add_row("hits/s, 2 workers ÷ 1 worker", f"{ratio:.2f}", "load generator on the same processors")


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        main()
