"""Which versions run."""

from __future__ import annotations

import platform

from agentcache import __version__


def versions() -> dict[str, str]:
    """Return the version of AgentCache, of Python and of both SQLite libraries."""
    import apsw
    import pysqlite3

    return {
        "agentcache": __version__,
        "python": platform.python_version(),
        "sqlite (engine)": apsw.sqlite_lib_version(),
        "sqlite (records)": str(pysqlite3.sqlite_version),
    }
