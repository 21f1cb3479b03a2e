"""A15: a process that crashes leaves nothing of its memory behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.reliability import record

#: Asks for core files as far as it may, then does as servers and workers do, and crashes with a secret in its memory.
CRASHING = """
import ctypes, os, resource, sys
from agentcache.settings import Settings
from agentcache.supervisor.private_memory import keep_memory_private

hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
keep_memory_private(Settings.load())
secret = "zqx-" + "in-memory"
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else None
print(*resource.getrlimit(resource.RLIMIT_CORE), dumpable, flush=True)
os.abort()
"""


def crash(folder: Path, core_dumps: str) -> tuple[list[str], bool]:
    """Crash in a folder; return what the process said of itself, and whether the kernel says that it dumped memory."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "AGENTCACHE_CORE_DUMPS": core_dumps}
    with subprocess.Popen([sys.executable, "-c", CRASHING], cwd=folder, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode().split()
        _pid, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert os.WIFSIGNALED(status)
    return said, os.WCOREDUMP(status)


def test_a_crashed_process_leaves_no_core_file(tmp_path: Path) -> None:
    said, was_dumped = crash(tmp_path, "off")
    assert said == ["0", "0", "0" if sys.platform == "linux" else "None"]
    assert not was_dumped
    assert list(tmp_path.iterdir()) == []
    record("A15 core files", crashes=1, core_files=0)


def test_whoever_develops_may_have_core_files(tmp_path: Path) -> None:
    said, was_dumped = crash(tmp_path, "on")
    assert said[0] == said[1]
    assert said[2] != "0"
    # Where the machine allows core files and keeps them in place, the other test would have found one.
    files = list(tmp_path.iterdir())
    assert was_dumped or not files
