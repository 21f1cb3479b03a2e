"""Puts a current SQLite under Django, in place of the one that the interpreter is linked with."""

from __future__ import annotations

import sys

#: Older releases can corrupt a WAL file that two connections reset at once (sqlite.org/wal.html, "WAL-reset bug").
OLDEST_SAFE_SQLITE = (3, 51, 3)


class SQLiteTooOld(RuntimeError):
    """The SQLite library is older than 3.51.3 and can corrupt a database in WAL mode."""


def install_sqlite() -> str:
    """Make `import sqlite3` mean the bundled library in this process and return its version.

    Has to run before Django's SQLite backend is imported, because the backend binds the module once.
    """
    import pysqlite3
    import pysqlite3.dbapi2

    require_safe(pysqlite3.sqlite_version_info)
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
    return str(pysqlite3.sqlite_version)


def require_safe(version: tuple[int, ...]) -> None:
    """Raise `SQLiteTooOld` for a library with the WAL-reset bug."""
    if version < OLDEST_SAFE_SQLITE:
        found = ".".join(map(str, version))
        raise SQLiteTooOld(
            f"SQLite {found} can corrupt data in WAL mode; install a pysqlite3 wheel with 3.51.3 or newer."
        )
