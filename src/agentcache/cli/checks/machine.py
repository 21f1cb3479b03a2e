"""The machine: interpreter, libraries, clock, files, ports."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from agentcache.cli.checks.finding import Finding, fail, ok, warn
from agentcache.kit.errors import AgentCacheError
from agentcache.settings import Settings
from agentcache.supervisor import preflight
from agentcache.supervisor.errors import PortTaken
from agentcache.supervisor.listening import open_listener

PART = "machine"
#: Below this an embedded store soon fails to write.
FREE_BYTES_MIN = 256 * 1024**2
#: Each open stream costs two descriptors, and 1024 is the usual meagre default.
OPEN_FILES_MIN = 4096
#: This code was written after that moment, so an earlier clock is wrong.
CLOCK_EARLIEST = 1_767_225_600.0  # 2026-01-01


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Look at what does not depend on any server."""
    yield _python()
    yield _attempt("SQLite libraries", preflight.check_sqlite_libraries, _sqlite_versions, "make serve")
    yield _clock(time.time())
    yield _open_files()
    yield _attempt(
        "data directory", lambda: preflight.check_data_dir(settings.data_dir), lambda: str(settings.data_dir)
    )
    yield from _files(settings)
    yield _free_space(settings)


def _python() -> Finding:
    return ok(PART, "Python", f"{platform.python_version()}, {sys.executable}")


def _sqlite_versions() -> str:
    from agentcache.cli.versions import versions

    found = versions()
    return f"{found['sqlite (engine)']} (engine), {found['sqlite (records)']} (records)"


def _clock(now: float) -> Finding:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < CLOCK_EARLIEST:
        return fail(PART, "clock", f"{stamp} is in the past", "Set the clock (timedatectl set-ntp true).")
    return ok(PART, "clock", stamp)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        raised = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        return warn(
            PART,
            "open files",
            f"at most {soft}",
            f"Raise the limit before the start (ulimit -n {min(65536, hard) if hard > 0 else 65536}; hard limit {raised}).",
        )
    return ok(PART, "open files", f"at most {soft}")


def _files(settings: Settings) -> Iterator[Finding]:
    for path in (preflight.database_file(settings), settings.cache_db):
        if path is not None and path.exists():
            size = f"{path}, {path.stat().st_size / 1024**2:.1f} MiB"
            yield _attempt(path.name, partial(preflight.check_database_file, path), partial(str, size))
    if settings.secret_key is not None:
        yield ok(PART, "secret key", "from AGENTCACHE_SECRET_KEY")
    elif settings.secret_key_file.exists():
        mode = stat.S_IMODE(settings.secret_key_file.stat().st_mode)
        where = f"{settings.secret_key_file}, mode {mode:04o}"
        yield _attempt("secret key", lambda: preflight.check_secret(settings), lambda: where)
    else:
        yield _attempt("secret key", lambda: preflight.check_secret(settings), lambda: "made on the first start")
    if settings.prices_file is not None:
        prices = settings.prices_file
        yield _attempt("prices file", lambda: preflight.check_prices_file(prices), lambda: str(prices))


def _free_space(settings: Settings) -> Finding:
    place = _nearest(settings.data_dir)
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:.1f} GiB free on {place}"
    if free < FREE_BYTES_MIN:
        return fail(PART, "disk space", found, "Free some space, or move AGENTCACHE_DATA_DIR to a larger disk.")
    if settings.redis_url is None and free < settings.cache_max_bytes:
        return warn(
            PART,
            "disk space",
            f"{found}, less than the cache may grow to ({settings.cache_max_bytes / 1024**3:.1f} GiB)",
            f"Lower AGENTCACHE_CACHE_MAX_BYTES below {free // 1024**2} MB, or use a larger disk.",
        )
    return ok(PART, "disk space", found)


def check_ports(settings: Settings, *, is_ours: bool) -> Iterator[Finding]:
    """Look whether the ports can be listened on; a port that our own running server holds is as it should be."""
    for name, port, setting in (
        ("port", settings.port, "AGENTCACHE_PORT"),
        ("metrics port", settings.metrics_port, "AGENTCACHE_METRICS_PORT"),
    ):
        if not port:
            continue
        place = f"{settings.host}:{port}"
        try:
            open_listener(settings.host, port, setting).close()
        except PortTaken as error:
            if is_ours:
                yield ok(PART, name, f"{place}, in use by this server")
            else:
                yield fail(PART, name, f"{place} is in use by another program", error.message.partition(". ")[2])
        except AgentCacheError as error:
            wrong, _, mend = error.message.partition(". ")
            yield fail(PART, name, wrong, mend)
        else:
            yield ok(PART, name, f"{place} is free")


def _nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _attempt(check: str, look: Callable[[], None], describe: Callable[[], str], mend: str = "") -> Finding:
    """Turn a check that raises into a finding; the error's first sentence is what was found, the rest mends it."""
    try:
        look()
    except AgentCacheError as error:
        wrong, _, way_out = error.message.partition(". ")
        return fail(PART, check, wrong, way_out or mend)
    except OSError as error:
        return fail(PART, check, f"{error.filename}: {error.strerror}", f"Let user {os.getuid()} read it.")
    return ok(PART, check, describe())
