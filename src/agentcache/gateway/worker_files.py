"""Small files that belong to one worker process each, and what dead workers left behind.

A worker holds a lock on its file for as long as it lives, so a file whose lock is free has no owner: process ids come
again after a restart, locks do not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentcache.kit.ids import new_id


class WorkerFile:
    """A file of this process, `<kind>-<id>`, locked until `close`."""

    def __init__(self, run_dir: Path, kind: str) -> None:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = run_dir / f"{kind}-{new_id()}"
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def close(self, *, remove: bool) -> None:
        """Give the lock up, and delete the file where nobody needs it any more."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def abandoned_files(run_dir: Path, kind: str) -> Iterator[Path]:
    """Yield the files of dead workers, each to one caller only; a file is deleted when its turn is over."""
    for path in sorted(run_dir.glob(f"{kind}-*")):
        with _taken(path) as is_taken:
            if is_taken:
                yield path
                path.unlink(missing_ok=True)


def has_live_owner(run_dir: Path, kind: str) -> bool:
    """Tell whether any process that made such a file still lives."""
    for path in run_dir.glob(f"{kind}-*"):
        with _taken(path) as is_taken:
            if not is_taken and path.exists():
                return True
    return False


@contextmanager
def _taken(path: Path) -> Iterator[bool]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        # Somebody may have taken and deleted it between our opening and our lock.
        yield path.exists()
    finally:
        os.close(descriptor)
