"""The database's schema: brings it up to date, and tells what would be done."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection, transaction
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from agentcache.kit.errors import AgentCacheError
from agentcache.web.project import current_settings

#: Any number, the same in every release: whoever holds it migrates.
_ADVISORY_LOCK = 4_210_655_041


class SchemaTooNew(AgentCacheError):
    """The database was written by a newer release of AgentCache."""

    code = "schema_too_new"


class SchemaNotMigrated(AgentCacheError):
    """The database is not up to date; run `agentcache migrate`."""

    code = "schema_not_migrated"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Migrations, as `app.name`: those still to be applied, and applied ones that this release does not know."""

    pending: tuple[str, ...]
    unknown: tuple[str, ...]


def schema_state() -> SchemaState:
    """Compare the database with this release."""
    executor = MigrationExecutor(connection)
    known = executor.loader.disk_migrations or {}
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    applied = MigrationRecorder(connection).applied_migrations()
    ours = {app for app, _ in known}
    unknown = [key for key in applied if key[0] in ours and key not in known]
    return SchemaState(
        pending=tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan),
        unknown=tuple(f"{app}.{name}" for app, name in sorted(unknown)),
    )


def require_current_schema() -> None:
    """Raise `SchemaTooNew` or `SchemaNotMigrated` unless the database fits this release."""
    state = schema_state()
    _refuse_unknown(state)
    if state.pending:
        raise SchemaNotMigrated(
            f"The database lacks {len(state.pending)} migrations, first {state.pending[0]}; run `agentcache migrate`."
        )


def migrate() -> tuple[str, ...]:
    """Bring the database up to date and return the migrations applied; servers that start together take turns."""
    with _exclusively():
        state = schema_state()
        _refuse_unknown(state)
        if state.pending:
            _apply_pending()
        return state.pending


def _apply_pending() -> None:
    # As Django's command does it, but for the executor.
    executor = _WholeSteps(connection)
    executor.loader.check_consistent_history(connection)
    targets = executor.loader.graph.leaf_nodes()
    plan = executor.migration_plan(targets)
    emit_pre_migrate_signal(0, False, connection.alias, plan=plan)
    executor.migrate(targets, plan=plan)
    emit_post_migrate_signal(0, False, connection.alias, plan=plan)


class _WholeSteps(MigrationExecutor):
    """Applies a migration and writes down that it did in one transaction.

    Django does the second by itself after the first whenever a migration leaves statements for its end; whoever is killed
    in between could never migrate again, for the tables are there already.
    """

    def apply_migration(self, state: Any, migration: Migration, fake: bool = False, fake_initial: bool = False) -> Any:
        """Run a migration forwards."""
        if not migration.atomic:
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)
        # SQLite rebuilds tables, which it can do without looking at their references only, and says so outside of a
        # transaction only. They are checked before the end of the step.
        with self.connection.constraint_checks_disabled(), transaction.atomic(self.connection.alias):
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)


def _refuse_unknown(state: SchemaState) -> None:
    if state.unknown:
        raise SchemaTooNew(
            f"The database was written by a newer release of AgentCache (it has {state.unknown[-1]}). "
            "Install that release, or restore a backup made before the upgrade."
        )


@contextmanager
def _exclusively() -> Iterator[None]:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # a migration of a large table may take long
            cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
                connection.close()
        return
    run_dir = current_settings().run_dir
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (run_dir / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
