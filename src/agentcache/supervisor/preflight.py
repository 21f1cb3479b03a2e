"""What can be known to be wrong before anything is written: each finding is one line with what, where and how to mend."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote

from agentcache.kit.crypto import load_or_create_secret
from agentcache.settings import Settings
from agentcache.supervisor.errors import CannotStart

#: Oldest SQLite without the WAL-reset bug, which corrupts a database that two connections have open.
OLDEST_SAFE_SQLITE = (3, 51, 3)
#: Every SQLite database begins with this.
SQLITE_MAGIC = b"SQLite format 3\0"


def preflight(settings: Settings) -> None:
    """Raise `CannotStart` (or another `AgentCacheError`) for the first thing that would stop the server. Writes nothing."""
    check_sqlite_libraries()
    if settings.otel_endpoint is not None:
        from agentcache.gateway.tracing import require_tracing  # late: the supervisor keeps out what it does not need

        require_tracing(settings.otel_endpoint)
    check_data_dir(settings.data_dir)
    for database in (database_file(settings), settings.cache_db):
        if database is not None:
            check_database_file(database)
    check_secret(settings)
    if settings.prices_file is not None:
        check_prices_file(settings.prices_file)


def check_sqlite_libraries() -> None:
    """Refuse a SQLite library that can corrupt a database in WAL mode."""
    import apsw
    import pysqlite3

    for package, found in (("apsw", apsw.sqlite_lib_version()), ("pysqlite3", pysqlite3.sqlite_version)):
        if tuple(int(part) for part in found.split(".")[:3]) < OLDEST_SAFE_SQLITE:
            raise CannotStart(
                f"{package} carries SQLite {found}, which can corrupt data in WAL mode. Install the wheel that "
                "constraints/serve.txt names (SQLite 3.51.3 or newer)."
            )


def check_data_dir(data_dir: Path) -> None:
    """Refuse a data directory that is not ours to write, or that cannot be made."""
    nearest = data_dir
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise _wrong_dir(data_dir, f"{nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _wrong_dir(data_dir, f"this user may not write to {nearest}")
    if data_dir.exists() and data_dir.stat().st_mode & stat.S_IWOTH:
        raise CannotStart(
            f"AGENTCACHE_DATA_DIR: every user of this machine may write to {data_dir}. Run: chmod 700 {data_dir}",
            param="AGENTCACHE_DATA_DIR",
        )
    try:
        # Read-only mounts and quotas show only when one tries; the file has no name on Linux and is gone on close.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _wrong_dir(data_dir, f"{nearest} takes no files ({error.strerror})") from None


def database_file(settings: Settings) -> Path | None:
    """Return the file that keeps the records, or None when a database server does."""
    if settings.database_url is None:
        return settings.app_db
    if settings.database_url.startswith("sqlite:"):
        return Path(unquote(settings.database_url.removeprefix("sqlite:///"))).absolute()
    return None


def check_database_file(path: Path) -> None:
    """Refuse a database file that is something else, or that this user may not write."""
    if not path.exists():
        if not path.parent.is_dir() and path.parent.exists():
            raise CannotStart(f"{path}: {path.parent} is not a directory. Choose another place for the database.")
        return
    if not path.is_file():
        raise CannotStart(f"{path} is not a file, so it cannot be a database. Move it away.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CannotStart(f"{path}: this user may not read and write it. Run: chown $(id -un) {path}")
    with path.open("rb") as file:
        head = file.read(len(SQLITE_MAGIC))
    if head and head != SQLITE_MAGIC:
        raise CannotStart(f"{path} is not a SQLite database. Move it away, or restore it from your backup.")


def check_secret(settings: Settings) -> None:
    """Refuse a secret that others can read, that is too short, or that is missing while keys depend on it."""
    if settings.secret_key is not None:
        return
    path = settings.secret_key_file
    if path.exists():
        load_or_create_secret(path)  # only reads, for there is one
        return
    records = database_file(settings)
    if records is not None and records.exists() and records.stat().st_size > 0:
        raise CannotStart(
            f"{path} is missing, but {records} holds keys that only it can check. Restore it from your backup, "
            "or set AGENTCACHE_SECRET_KEY to its content.",
            param="AGENTCACHE_SECRET_KEY",
        )


def check_prices_file(path: Path) -> None:
    """Refuse a prices file that is no JSON object."""
    try:
        prices = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"AGENTCACHE_PRICES_FILE: {path} cannot be read as JSON ({error}). Mend the file, or unset the setting.",
            param="AGENTCACHE_PRICES_FILE",
        ) from None
    if not isinstance(prices, dict):
        raise CannotStart(
            f"AGENTCACHE_PRICES_FILE: {path} holds no JSON object. Put models and their prices into braces, or unset "
            "the setting.",
            param="AGENTCACHE_PRICES_FILE",
        )


def _wrong_dir(data_dir: Path, reason: str) -> CannotStart:
    return CannotStart(
        f"AGENTCACHE_DATA_DIR: {data_dir} cannot be used, because {reason}. Choose another directory with "
        "AGENTCACHE_DATA_DIR, or mend its permissions.",
        param="AGENTCACHE_DATA_DIR",
    )
