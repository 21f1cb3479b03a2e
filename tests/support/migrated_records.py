"""Empty migrated records to start servers on: a server that migrates takes two seconds of processor time more.

Made by `agentcache migrate` once for each state of the migrations, and kept in `build/`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "migrated-records"
FILES = ("app.db", "secret.key")


def put_into(folder: Path) -> None:
    """Put empty migrated records, with the secret that belongs to them, into a data directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy2(_kept() / name, folder / name)


@cache
def _kept() -> Path:
    seen = hashlib.sha256()
    for part in [ROOT / "constraints/test.txt", *sorted((ROOT / "src/agentcache").glob("**/migrations/*.py"))]:
        seen.update(part.read_bytes())
    kept = KEPT / seen.hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _make(kept)
    return kept


def _make(kept: Path) -> None:
    for former in KEPT.iterdir():
        if former.is_dir():
            shutil.rmtree(former)
    made = KEPT / "unfinished"
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
    environ = inherited | {"AGENTCACHE_DATA_DIR": str(made)}
    subprocess.run([sys.executable, "-m", "agentcache", "migrate"], env=environ, check=True, capture_output=True)
    # Whole in one file: what a journal holds would be left behind by a copy.
    assert not (made / "app.db-wal").exists() or not (made / "app.db-wal").stat().st_size
    made.rename(kept)
