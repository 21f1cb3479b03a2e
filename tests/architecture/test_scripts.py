"""The targets of the Makefile and the scripts behind them."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.architecture.repository import ROOT, text_of

TARGETS = (
    "serve",
    "test",
    "test-release",
    "pictures",
    "check",
    "demo",
    "bench",
    "bench-peers",
    "bench-invalidation",
    "bench-lookup",
    "bench-pages",
    "bench-policies",
    "bench-watch",
    "bench-semantic",
    "calibration-set",
    "planted-prompts",
    "train-verifier",
    "soak-watch",
    "build",
    "lock",
    "docs",
)
SHELL_SCRIPTS = [
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and text_of(path).startswith("#!/bin/sh")
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_one_line_that_calls_its_script(target):
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert recipe[1] == f"\t@scripts/{target}\n"
    assert os.access(ROOT / "scripts" / target, os.X_OK)


def test_plain_make_lists_every_target():
    finished = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert re.findall(r"^  make (\S+)", finished.stdout, re.MULTILINE) == ["help", *TARGETS]


def test_ci_runs_check_and_test_and_nothing_cleverer():
    commands = [line for line in text_of(ROOT / ".ci/run").splitlines() if line and not line.startswith("#")]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make check test"]


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_plain_shell(script):
    text = text_of(script)
    assert subprocess.run(["sh", "-n", script], capture_output=True).returncode == 0
    assert len(text.splitlines()) <= 40
    # What bash 3.2 and the BSD tools of macOS do not have.
    for foreign in (
        "[[",
        "${!",
        "readlink -f",
        "realpath",
        "sed -i",
        "mapfile",
        "date -d",
        "grep -P",
        "sha256sum",
        "nproc",
    ):
        assert foreign not in text


def run_python_script(folder, **environ):
    """Run scripts/python with nothing on the PATH but `folder` and the base tools."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("sh", "tail", "dirname"):
        (tools / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))
    environ = {"PATH": f"{folder}{os.pathsep}{tools}", **environ}
    return subprocess.run([ROOT / "scripts/python"], env=environ, capture_output=True, text=True)


def fake_python(folder, name, *, new_enough):
    program = folder / name
    program.write_text(
        f"#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.x' && exit 0\nexit {0 if new_enough else 1}\n"
    )
    program.chmod(0o755)
    return program


def test_the_first_python_that_is_new_enough_is_taken(tmp_path):
    fake_python(tmp_path, "python3", new_enough=False)
    taken = fake_python(tmp_path, "python3.12", new_enough=True)
    assert run_python_script(tmp_path).stdout.strip() == str(taken)


def test_a_python_may_be_named(tmp_path):
    fake_python(tmp_path, "python3.11", new_enough=True)
    named = fake_python(tmp_path, "mypython", new_enough=True)
    assert run_python_script(tmp_path, PYTHON=str(named)).stdout.strip() == str(named)


@pytest.mark.parametrize("environ", [{}, {"PYTHON": "python3"}, {"PYTHON": "/nowhere/python"}], ids=str)
def test_an_old_python_is_refused_with_a_way_out(tmp_path, environ):
    fake_python(tmp_path, "python3", new_enough=False)
    finished = run_python_script(tmp_path, **environ)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: ")
    assert "3.11" in finished.stderr


def test_an_installation_that_is_current_is_left_alone(tmp_path):
    """The second `make serve` must not call pip: it would cost seconds and a network."""
    program = f"""
import sys; sys.path.insert(0, {str(ROOT / "scripts")!r})
import install
from pathlib import Path
install.STAMP = Path({str(tmp_path / "stamp")!r})
calls = []
install.pip = lambda *arguments: calls.append(arguments[-1])
for level in ("test", "serve", "test", "dev", "serve"):
    install.main(level)
install.STAMP.write_text("0" * 64 + " test\\n")
install.main("serve")
print(calls)
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    calls = finished.stdout.splitlines()[-1]
    assert calls == str(["constraints/test.txt", ".", "constraints/dev.txt", ".", "constraints/test.txt", "."])
