"""L9: a server with default settings works without a network and never tries to leave the machine."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.architecture.repository import ROOT
from tests.support.migrated_records import put_into
from tests.support.reliability import record
from tests.support.tiers import before_release

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

VISIT = [sys.executable, "tests/support/short_visit.py"]
LOOPBACK = ("'127.0.0.1'", "'::1'", "'localhost'", "None", "'/", "b'")


def isolation():
    """Return a command that runs another one in a network of its own, or None where the kernel forbids that."""
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return None


def audit(tmp_path):
    """Return the events of a whole visit that name anything but this machine."""
    log = tmp_path / "audit.log"
    environ = {**os.environ, "AUDIT_LOG": str(log)}
    command = [*VISIT, str(tmp_path / "data"), sys.executable, "tests/support/audited_python.py"]
    finished = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr
    events = log.read_text().splitlines() if log.exists() else []
    return [event for event in events if not any(place in event for place in LOOPBACK)]


# With every change the same is audited where a proxy is named, and counted by the kernel where it can.
@before_release
def test_no_process_opens_a_connection_to_another_machine(tmp_path):
    assert audit(tmp_path) == []


def test_the_audit_sees_what_it_is_for(tmp_path):
    program = tmp_path / "leaver.py"
    program.write_text(
        "import socket, subprocess, sys\n"
        "if len(sys.argv) == 1: sys.exit(subprocess.run([sys.executable, '-m', 'leaver', 'child']).returncode)\n"
        "with socket.socket() as s:\n    s.settimeout(0.01)\n    s.connect_ex(('192.0.2.1', 9))\n"
    )
    environ = {**os.environ, "AUDIT_LOG": str(tmp_path / "audit.log"), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "tests/support/audited_python.py"), "-m", "leaver"]
    finished = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert "192.0.2.1" in (tmp_path / "audit.log").read_text()


def test_it_works_without_a_network_and_the_kernel_sees_no_attempt_to_leave(tmp_path):
    isolated = isolation()
    if isolated is None:
        # The kernel cannot be asked here (another system, or no privilege); the interpreters can.
        assert audit(tmp_path) == []
        return
    put_into(tmp_path / "data")
    command = [*isolated, sys.executable, "tests/support/isolated_network.py", *VISIT, str(tmp_path / "data")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr
    counted = json.loads(finished.stdout)
    assert counted["exit_code"] == 0, finished.stderr
    assert counted["after_control"] > counted["during"], "the counter does not count"
    assert counted["during"] == 0
    record("L9", attempts=counted["during"])


def test_a_proxy_in_the_environment_changes_nothing(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    put_into(tmp_path / "data")
    assert audit(tmp_path) == []
