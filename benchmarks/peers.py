"""`make bench-peers`: cache hits per second side by side with LiteLLM's proxy, in a virtual environment of its own.

Both get one process on one processor, their in-process cache, the same requests and the same fake provider.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.hits import HIT_BODIES, PATH, fill
from benchmarks.load import Load
from benchmarks.servers import LOAD_CPU, SERVER_CPU, agentcache, fake_provider, free_port, run_load, wait_for

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-peers"
MASTER_KEY = "sk-bench-master"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    _install()
    ratios, detail = [], []
    with fake_provider() as provider, agentcache(provider) as ours, _litellm(provider) as theirs:
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        fill(ours)
        _fill_theirs(theirs, headers)
        for _ in range(given.rounds):
            mine = run_load(Load(ours.port, PATH, HIT_BODIES, ours.headers, 16, given.seconds, cpu=LOAD_CPU))
            other = run_load(Load(theirs, PATH, HIT_BODIES, headers, 16, given.seconds, cpu=LOAD_CPU))
            ratios.append(mine["per_second"] / other["per_second"])
            detail.append(f"{mine['per_second']:,.0f}/{other['per_second']:,.0f}")
    table = Table("what", "figure", "detail", title="Side by side")
    table.add_row(f"hits/s ÷ LiteLLM proxy {_version()}", f"{statistics.median(ratios):.0f}", ", ".join(detail))
    Console(width=120).print(table)


def _install() -> None:
    stamp = PEERS / "installed"
    wanted = (ROOT / "constraints" / "peers.txt").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    subprocess.run(
        [
            str(PEERS / "bin/pip"),
            "install",
            "-q",
            "--require-hashes",
            "--no-deps",
            "-r",
            str(ROOT / "constraints/peers.txt"),
        ],
        check=True,
    )
    stamp.write_text(wanted)


def _version() -> str:
    shown = subprocess.run(
        [str(PEERS / "bin/python"), "-c", "from importlib.metadata import version; print(version('litellm'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip()


@contextlib.contextmanager
def _litellm(provider: int) -> Iterator[int]:
    """Run LiteLLM's proxy with its in-memory cache on; yield its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="litellm-bench-") as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            "model_list:\n"
            "  - model_name: gpt-4o-mini\n"
            "    litellm_params:\n"
            "      model: openai/gpt-4o-mini\n"
            f"      api_base: http://127.0.0.1:{provider}/v1\n"
            "      api_key: sk-bench\n"
            "litellm_settings:\n"
            "  cache: true\n"
            "  cache_params: {type: local, ttl: 3600, max_size_in_memory: 10000}\n"
            f"general_settings:\n  master_key: {MASTER_KEY}\n"
        )
        running = subprocess.Popen(
            [str(PEERS / "bin/litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1",
             "--num_workers", "1", "--telemetry", "False"],
            env={**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )  # fmt: skip
        if SERVER_CPU is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(running.pid, {SERVER_CPU})
        try:
            wait_for(port, 180)
            yield port
        finally:
            running.terminate()
            running.wait(30)


def _fill_theirs(port: int, headers: dict[str, str]) -> None:
    for body in HIT_BODIES:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{PATH}",
            data=body.encode(),
            headers={**headers, "Content-Type": "application/json"},
        )
        for attempt in range(60):
            try:
                urllib.request.urlopen(request).read()
                break
            except OSError:
                if attempt == 59:
                    raise
                time.sleep(0.5)


if __name__ == "__main__":
    main()
