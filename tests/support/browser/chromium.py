"""Chromium for tests: where it is, how it starts, and how its sync driver shares a process with asyncio tests."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright

#: The shell is the same engine without the browser's own windows, and opens a person's context seven times as quickly.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # The network is closed but for us: whatever a page asks of others fails, here and on a machine with a line.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)  # fmt: skip


def find_chromium(playwright: Playwright) -> str:
    """Return the program: AGENTCACHE_CHROMIUM, else one on the PATH, else the one that Playwright keeps."""
    given = os.environ.get("AGENTCACHE_CHROMIUM")
    found = given or next(
        (path for name in _NAMES if (path := shutil.which(name))), playwright.chromium.executable_path
    )
    if not os.access(found, os.X_OK):
        raise RuntimeError(f"There is no Chromium at {found}; scripts/chromium installs one.")
    return found


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window."""
    return playwright.chromium.launch(executable_path=find_chromium(playwright), args=list(_FLAGS))


class Turns:
    """Has Playwright's event loop count as the running one inside its own turns only.

    The sync driver leaves its loop marked as running while a test's code runs; an asyncio test that came next in the
    same process could then not start a loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Let Playwright be used inside the block."""
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            self._loop = asyncio._get_running_loop()
            asyncio._set_running_loop(None)
