"""Migrates a database in processes that are killed, one inside each migration, and prints what became of it as JSON.

python -m tests.support.killed_migrations_program WHERE, for the database of the settings in the environment. WHERE is the
moment of the kill: `first` and `last` statement of a migration's own, or `recording`, the moment before it is written down.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from agentcache.settings import Settings
from agentcache.web.project import configure


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(where: str, lets_through: int) -> None:
    """Have this process killed inside a migration, after it has let so many through."""
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations import Migration
    from django.db.migrations.recorder import MigrationRecorder

    apply, execute, record = Migration.apply, BaseDatabaseSchemaEditor.execute, MigrationRecorder.record_applied
    begun = 0

    def is_armed(moment: str) -> bool:
        return where == moment and begun > lets_through

    def dying_apply(self: Any, *given: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        state = apply(self, *given, **options)
        if is_armed("last"):
            _die()
        return state

    def dying_execute(self: Any, *given: Any, **options: Any) -> Any:
        done = execute(self, *given, **options)
        if is_armed("first"):
            _die()
        return done

    def dying_record(self: Any, *given: Any) -> None:
        if is_armed("recording"):
            _die()
        record(self, *given)

    Migration.apply = dying_apply  # type: ignore[method-assign]
    BaseDatabaseSchemaEditor.execute = dying_execute  # type: ignore[method-assign]
    MigrationRecorder.record_applied = dying_record  # type: ignore[method-assign, assignment]


def _in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - told by the exit code, and on standard error
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _attempt(where: str, lets_through: int) -> None:
    from agentcache.web.schema import migrate

    _arm(where, lets_through)
    migrate()


def main(where: str) -> None:
    """Kill, resume, kill, resume … until the database is up to date."""
    configure(Settings.load())
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    # Nothing is asked of the database before the processes part: a connection cannot be shared.
    total = len(MigrationLoader(None).disk_migrations or {})
    kills = 0
    for attempt in range(total + 1):
        # Each but the first goes through the migration that the one before was killed in.
        code = _in_child(partial(_attempt, where, min(attempt, 1)))
        if code == 0:
            break
        if code != -signal.SIGKILL:
            raise SystemExit(f"attempt {attempt} ended with {code}, not by the kill")
        kills += 1
    from agentcache.web.schema import require_current_schema

    require_current_schema()
    connection.close()
    sys.stdout.write(json.dumps({"kills": kills, "migrations": total}))


if __name__ == "__main__":
    main(sys.argv[1])
