"""The way from pages to the entry store, at the end of a process."""

import os
import subprocess
import sys

PROGRAM = """
from agentcache.settings import Settings
from agentcache.web.project import configure
configure(Settings.load())
from agentcache.dashboard.entry_access import entry_access
entry_access().call(lambda store: store.ping())
"""


def test_a_process_that_ends_without_closing_ends_quietly(tmp_path):
    environ = {**os.environ, "AGENTCACHE_DATA_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
