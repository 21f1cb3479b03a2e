"""Figures worth publishing: one line of `reliability.jsonl` per scenario that ran."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Git-ignored; `docs/reference/reliability.md` is made from a run's lines.
PATH = ROOT / "reliability.jsonl"


def record(scenario_id: str, *, violations: int = 0, **figures: float | str) -> None:
    """Append a scenario's figures. Whoever calls has already asserted on them."""
    line = {
        "id": scenario_id,
        "commit": _commit(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "violations": violations,
        "figures": figures,
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    # One write call of less than a page: lines of parallel test processes do not mix.
    with PATH.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


@cache
def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"
