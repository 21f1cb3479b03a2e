"""A Python that writes down every connection it opens and every name it looks up; so do the Pythons it starts.

    python tests/support/audited_python.py -m agentcache serve

`AUDIT_LOG` names the file that gets one line per event. Used in place of `sys.executable`, so nothing has to be
installed into the environment under test.
"""

from __future__ import annotations

import os
import runpy
import stat
import sys
from pathlib import Path

LOG = Path(os.environ["AUDIT_LOG"])
EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Write one event down."""
    if event in EVENTS:
        with LOG.open("a") as log:
            log.write(f"{event} {arguments[1:] if event in {'socket.connect', 'socket.sendto'} else arguments}\n")


def stand_in() -> str:
    """Return a program that runs this file instead of the plain interpreter."""
    script = LOG.with_suffix(".python")
    if not script.exists():
        draft = script.with_suffix(f".{os.getpid()}")
        draft.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
        draft.chmod(draft.stat().st_mode | stat.S_IXUSR)
        draft.replace(script)
    return str(script)


if __name__ == "__main__":
    sys.addaudithook(note)
    sys.executable = stand_in()
    assert sys.argv[1] == "-m"
    sys.argv[:] = sys.argv[2:]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
