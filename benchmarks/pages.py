"""`make bench-pages`: what every page costs the server with ten million usage events, on SQLite and on PostgreSQL.

The filled databases stay in build/bench-pages, so that only the first run takes long. Pages are asked for in process:
the whole ASGI application of the control plane with its sessions and its database, without a network in between.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "bench-pages"
ENGINES = ("sqlite", "postgresql")
LIMIT_MS = 100.0


def main() -> None:
    """Fill what is missing, measure, print; ends with 1 when a page takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--fill-only", action="store_true")
    given = parser.parse_args()
    console = Console(width=130)
    slow = 0
    for engine in given.engine or ENGINES:
        measured = _run(engine, given.events, 0 if given.fill_only else given.rounds)
        if measured:
            slow += _show(console, engine, measured)
    raise SystemExit(1 if slow else 0)


def _run(engine: str, events: int, rounds: int) -> dict[str, Any]:
    folder = KEPT / f"{engine}-{events}"
    folder.mkdir(parents=True, exist_ok=True)
    # One process each, for Django is set up once per process.
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        program = [sys.executable, "-m", "benchmarks.pages_measure"]
        subprocess.run([*program, engine, str(folder), str(events), str(rounds), result.name], check=True, cwd=ROOT)
        found: dict[str, Any] = json.loads(Path(result.name).read_text() or "{}")
        return found


def _show(console: Console, engine: str, found: dict[str, Any]) -> int:
    title = f"{engine}: {found['events']:,} usage events, {found['bytes'] / 2**30:.2f} GiB"
    table = Table("page", "median ms", "p95 ms", "", title=title)
    slow = 0
    rows = [(address, statistics.median(taken), _p95(taken)) for address, taken in found["measured"].items()]
    for address, median, p95 in sorted(rows, key=lambda row: -row[1]):
        is_slow = median > LIMIT_MS
        slow += is_slow
        verdict = "[red]too slow[/red]" if is_slow else "[green]pass[/green]"
        table.add_row(address, f"{median:.1f}", f"{p95:.1f}", verdict)
    console.print(table)
    odd = ", ".join(f"{address} ({status})" for address, status in found["odd"].items())
    console.print(
        f"{len(rows)} pages, {slow} over {LIMIT_MS:g} ms at the median. No page of their own: {odd or 'none'}."
    )
    return slow


def _p95(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0]


if __name__ == "__main__":
    main()
