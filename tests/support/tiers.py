"""Which tests a run is for: every change, or a release.

What takes long and seldom finds anything runs before a release only (`make test-release`), where the others count
further, too.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

#: `AGENTCACHE_TEST_RELEASE=1`: everything, with the numbers of a release.
IS_RELEASE: Final = bool(os.environ.get("AGENTCACHE_TEST_RELEASE"))
#: Marks a test that runs before a release only.
before_release: Final = pytest.mark.release

#: Databases under a whole server that takes long: what its code asks of them is tried on both without a server.
ENGINES: Final = ("sqlite", pytest.param("postgresql", marks=before_release))


def count(every_change: int, release: int) -> int:
    """Return how often something is tried in this run."""
    return release if IS_RELEASE else every_change
