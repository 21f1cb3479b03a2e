"""Keeps what a process has in memory out of core files, and from debuggers of the same user: keys, prompts, answers."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

from agentcache.settings import Settings

#: From `linux/prctl.h`.
_PR_SET_DUMPABLE = 4


def keep_memory_private(settings: Settings) -> None:
    """Let no core file of this process be written, nor of programs that it starts, unless the settings want them.

    The limit holds where cores are files and goes on to children. Where they are piped to a collector the kernel overlooks
    it, so on Linux the process is marked as not to be dumped as well: its memory and environment under `/proc` are then
    root's, and only root attaches a debugger or a profiler. The mark ends with `exec`, so each program sets it for itself.
    """
    if settings.core_dumps:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
