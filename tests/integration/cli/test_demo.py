"""`agentcache demo`: the whole of it, as `make demo` runs it."""

import json
import os
import subprocess
import sys

import psutil
import pytest

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)


def test_every_prompt_is_a_hit_the_second_time_and_nothing_is_left_behind(tmp_path):
    environ = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
    environ |= {"TMPDIR": str(tmp_path), "AGENTCACHE_DRAIN_SECONDS": "2", "AGENTCACHE_STORE_BUDGET_MS": "10000"}
    command = [sys.executable, "-m", "agentcache", "demo", "--port", "0", "--exit", "--json"]
    finished = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    figures = json.loads(finished.stdout)
    assert figures["first"]["hits"] == 0
    assert figures["first"]["prompts"] == figures["second"]["prompts"] == figures["second"]["hits"] >= 200
    assert float(figures["second"]["saved_usd"]) > 0
    assert list(tmp_path.iterdir()) == []
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
