"""Where the files of tests are: in memory where there is room, for every commit would wait for the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import psutil

#: Linux keeps what is written there in memory; elsewhere there is no such folder. pytest makes one of its own in it, for this user only.
SHARED_MEMORY: Final = Path("/dev/shm")
#: A whole run leaves little at any moment; servers and browsers want the rest.
ROOM_BYTES: Final = 4 << 30


def memory_folder(folder: Path = SHARED_MEMORY, room: int = ROOM_BYTES) -> Path | None:
    """Return the folder if files may be made and programs started in it, and it and the machine have the room.

    A process that is killed leaves there what it would leave on a disk. What only a loss of power takes is tried without.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    if found.f_flag & os.ST_NOEXEC or not os.access(folder, os.W_OK):
        return None
    is_roomy = found.f_bavail * found.f_frsize >= room and psutil.virtual_memory().available >= 2 * room
    return folder if is_roomy else None
