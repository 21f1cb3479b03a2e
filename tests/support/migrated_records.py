"""Empty migrated records to start servers on: to migrate takes three seconds of processor time.

Made by `agentcache migrate` once for each state of the migrations, and kept in `build/`: a file of SQLite, and a whole
cluster of PostgreSQL with a migrated database in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import psycopg

from tests.support.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "migrated-records"
FILES = ("app.db", "secret.key")
#: The database in the cluster that is kept.
MIGRATED_DATABASE = "migrated"


def put_into(folder: Path) -> None:
    """Put empty migrated records, with the secret that belongs to them, into a data directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy2(_kept() / name, folder / name)


def postgres_server() -> PostgresServer:
    """Return a server, not started yet, with the migrated database on it."""
    # A worker in turn for each of hundreds of databases, in which little is ever changed, would be busy all the time.
    return PostgresServer(copy_of=_kept() / "postgresql", autovacuum="off")


def has_migrated_database(server_url: str) -> bool:
    """Say whether a server was made by `postgres_server`."""
    with psycopg.connect(server_url) as admin:
        return admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED_DATABASE]).fetchone() is not None


@cache
def _kept() -> Path:
    seen = hashlib.sha256()
    for part in [
        Path(__file__),
        ROOT / "constraints/test.txt",
        *sorted((ROOT / "src/agentcache").glob("**/migrations/*.py")),
    ]:
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
    _migrate(made)
    # Whole in one file: what a journal holds would be left behind by a copy.
    assert not (made / "app.db-wal").exists() or not (made / "app.db-wal").stat().st_size
    # Made elsewhere: who runs PostgreSQL for root may not be let into this folder.
    with tempfile.TemporaryDirectory(prefix="agentcache-migrated-") as folder:
        with PostgresServer(Path(folder)) as server, psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {MIGRATED_DATABASE}")
            _migrate(made / "beside", AGENTCACHE_DATABASE_URL=server.url(MIGRATED_DATABASE))
        shutil.copytree(folder, made / "postgresql")
    made.rename(kept)


def _migrate(folder: Path, **settings: str) -> None:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
    environ = inherited | {"AGENTCACHE_DATA_DIR": str(folder), **settings}
    subprocess.run([sys.executable, "-m", "agentcache", "migrate"], env=environ, check=True, capture_output=True)
