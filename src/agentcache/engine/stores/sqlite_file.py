"""The cache file: opening it safely, and setting it aside when it is damaged.

Beside `cache.db` lies `cache.db-epoch`: a lock for opening and quarantine, and eight bytes that every worker maps.
Whoever sets a damaged file aside raises the number; every other connection compares it before each use and reopens,
so no worker goes on serving from a file that is no longer the cache.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import StoreFull, StoreUnavailable, UnsuitableStore
from agentcache.engine.stores.recent import SharedCounters
from agentcache.engine.stores.sqlite_schema import CACHE_LAYOUT, Layout
from agentcache.kit.logs import get_logger

log = get_logger(__name__)

#: First release without the WAL-reset bug, which corrupts a file that two connections use.
SQLITE_MINIMUM = (3, 51, 3)
PAGE_BYTES = 8192
#: Pages of write-ahead log after which a commit also checkpoints (8 MiB).
CHECKPOINT_PAGES = 1024
WAL_BYTES_KEPT = 64 << 20
QUARANTINED_FILES_KEPT = 2


def require_sqlite(version: str) -> None:
    """Raise `UnsuitableStore` for a SQLite library with the WAL-reset corruption bug."""
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_MINIMUM:
        wanted = ".".join(map(str, SQLITE_MINIMUM))
        raise UnsuitableStore(
            f"SQLite {version} is too old for a cache shared by several connections: releases before {wanted} can "
            f"corrupt the file. Install a current apsw (it bundles its own SQLite): pip install -U apsw"
        )


def translate(error: Exception) -> StoreUnavailable:
    """Return the port's error for one of SQLite's."""
    if isinstance(error, apsw.FullError):
        return StoreFull(f"the cache disk is full: {error}")
    return StoreUnavailable(f"the cache file cannot be used: {error}")


def all_rows(connection: apsw.Connection, query: str, values: tuple[Any, ...] | list[Any] = ()) -> list[Any]:
    """Run a query and return its rows."""
    return connection.execute(query, values).fetchall()


def one_row(connection: apsw.Connection, query: str, values: tuple[Any, ...] | list[Any] = ()) -> Any:
    """Run a query that yields a row and return it; a file in which it does not is damaged."""
    row = connection.execute(query, values).fetchone()
    if row is None:
        raise apsw.CorruptError("a row that every cache file has is missing")
    return row


def means_damage(error: Exception) -> bool:
    """Say whether an error means that the file itself is broken, not merely busy, full or unreadable now."""
    # Text that is no UTF-8 was never written by us.
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError))


class CacheFile:
    """Opens connections to the cache file and replaces the file when it is damaged.

    `upgrade(connection, version)` brings a file of an earlier release up to date.
    """

    def __init__(
        self,
        path: Path,
        counters: StoreCounters,
        upgrade: Callable[[apsw.Connection, int], None],
        layout: Layout = CACHE_LAYOUT,
    ) -> None:
        self.path = path
        self._layout = layout
        self.counters = counters
        self._upgrade = upgrade
        self._epoch_path = path.with_name(path.name + "-epoch")
        self._shared: SharedCounters | None = None

    def open(self) -> None:
        """Check the library, create or verify the file; raise `UnsuitableStore` or `StoreUnavailable`."""
        require_sqlite(apsw.sqlite_lib_version())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._shared = SharedCounters(self._epoch_path)
            with self._locked():
                self._verify_or_rebuild()
        except OSError as error:
            raise UnsuitableStore(f"the cache file {self.path} cannot be opened: {error}") from error

    @property
    def shared(self) -> SharedCounters:
        """The counters that all workers share; raises when the file is not open."""
        if self._shared is None:
            raise apsw.ConnectionClosedError("the cache file is not open")
        return self._shared

    @property
    def epoch(self) -> int:
        """The number of times the file has been set aside, by any worker."""
        return self.shared.epoch

    def connect(self, *, busy_ms: int, cache_bytes: int, keeps_plans: bool = False) -> apsw.Connection:
        """Return a new connection with our settings."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(busy_ms)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, int(keeps_plans))
            # Waits in the kernel and in turn, where SQLite would poll and let the fastest writer win.
            connection.setlk_timeout(busy_ms, 0)
            for pragma in (
                "synchronous=NORMAL",
                "mmap_size=0",
                f"cache_size=-{cache_bytes // 1024}",
                f"wal_autocheckpoint={CHECKPOINT_PAGES}",
                f"journal_size_limit={WAL_BYTES_KEPT}",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except apsw.Error:
            connection.close(True)
            raise
        return connection

    def quarantine(self, seen_epoch: int, reason: str) -> None:
        """Set the file aside and start an empty one, unless another worker did so since `seen_epoch`."""
        with self._locked():
            if self.epoch == seen_epoch:
                self._set_aside(reason)
                self._create()

    def close(self) -> None:
        """Release the shared counters."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._epoch_path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _verify_or_rebuild(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._create()
            return
        try:
            self._verify()
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
            self._set_aside(str(error))
            self._create()
        except apsw.Error as error:
            raise translate(error) from error

    def _verify(self) -> None:
        connection = self.connect(busy_ms=5000, cache_bytes=1 << 20)
        try:
            application = connection.pragma("application_id")
            version = connection.pragma("user_version")
            if application != self._layout.application_id:
                raise UnsuitableStore(f"{self.path} is a database of another program; choose another data directory")
            if version > self._layout.version:
                raise UnsuitableStore(
                    f"{self.path} was written by a newer AgentCache (schema {version}, this one knows "
                    f"{self._layout.version}); upgrade, or delete the file (it is only a cache)"
                )
            if version < 1:
                raise apsw.CorruptError(f"schema {version} is none of ours")
            if version < self._layout.version:
                self._upgrade(connection, version)
            for table in self._layout.tables:
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608 - names of our own
        finally:
            connection.close(True)

    def _create(self) -> None:
        # A file that takes its name only when it is complete: a crash in between leaves nothing half made.
        draft = self.path.with_name(self.path.name + ".new")
        for leftover in self._family(draft):
            leftover.unlink(missing_ok=True)
        try:
            connection = apsw.Connection(str(draft))
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("BEGIN")
            connection.execute(self._layout.schema)
            self._layout.seed(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close(True)
            for leftover in self._family(self.path)[1:]:
                leftover.unlink(missing_ok=True)
            draft.rename(self.path)
        except apsw.Error as error:
            raise translate(error) from error

    def _set_aside(self, reason: str) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 1_000_000_000:09d}"
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        for source, target in zip(self._family(self.path), self._family(aside), strict=True):
            if source.exists():
                source.rename(target)
        self.shared.count_epoch()
        self.counters.quarantined += 1
        log.error("cache file set aside", path=str(self.path), kept_as=str(aside), reason=reason)
        earlier = sorted(p for p in self.path.parent.glob(f"{self.path.name}.corrupt-*") if p.name[-4:-3] != "-")
        for old in earlier[:-QUARANTINED_FILES_KEPT]:
            for part in self._family(old):
                part.unlink(missing_ok=True)

    @staticmethod
    def _family(path: Path) -> list[Path]:
        return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


class Link:
    """One thread's connection, reopened when it broke or when the file was replaced.

    With `keeps_plans` the plan of a statement does not depend on what is bound to it. Else SQLite plans some queries over several tables
    anew each time, which takes longer than to run them, and gains nothing but for a `GLOB`: statistics of values are not kept.
    """

    def __init__(self, file: CacheFile, *, busy_ms: int, cache_bytes: int, keeps_plans: bool = False) -> None:
        self._file = file
        self._busy_ms = busy_ms
        self._cache_bytes = cache_bytes
        self._keeps_plans = keeps_plans
        self._connection: apsw.Connection | None = None
        self.epoch = -1

    def connection(self) -> apsw.Connection:
        """Return a connection to the current file; raises apsw errors."""
        if self._connection is None or self.epoch != self._file.epoch:
            self.drop()
            self.epoch = self._file.epoch
            self._connection = self._file.connect(
                busy_ms=self._busy_ms, cache_bytes=self._cache_bytes, keeps_plans=self._keeps_plans
            )
        return self._connection

    @property
    def shared(self) -> SharedCounters:
        """The counters that all workers share."""
        return self._file.shared

    def is_current(self) -> bool:
        """Say whether the file is still the one this connection has open."""
        return self.epoch == self._file.epoch

    def drop(self) -> None:
        """Close the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)

    def report(self, error: apsw.Error | UnicodeDecodeError) -> StoreUnavailable:
        """Drop what broke, set a damaged file aside, and return the port's error."""
        if means_damage(error):
            self.drop()
            self._file.quarantine(self.epoch, str(error))
        elif not isinstance(error, (apsw.FullError, apsw.BusyError)):
            self.drop()
        return translate(error)
