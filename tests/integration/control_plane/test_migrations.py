import io
import threading

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from agentcache.settings import Settings
from agentcache.web.schema import SchemaNotMigrated, SchemaTooNew, migrate, require_current_schema, schema_state
from tests.support.django_project import use_settings
from tests.support.postgres_server import create_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    """Settings of a project over a database without any table."""
    environ = {"AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache")}
    if request.param == "postgresql":
        environ["AGENTCACHE_DATABASE_URL"] = create_database(request.getfixturevalue("postgres_url"))
    settings = Settings.from_env(environ)
    with use_settings(settings):
        yield settings


def test_models_and_migrations_agree(project):
    out = io.StringIO()
    call_command("makemigrations", check_changes=True, dry_run=True, stdout=out)
    assert "No changes" in out.getvalue()


def test_the_project_passes_djangos_own_checks(project):
    call_command("check", fail_level="WARNING", stdout=io.StringIO())


def test_a_database_of_a_newer_release_is_refused_and_left_alone(project):
    MigrationRecorder(connection).record_applied("teams", "9999_from_the_future")
    for attempt in (migrate, require_current_schema):
        with pytest.raises(SchemaTooNew, match=r"teams\.9999_from_the_future"):
            attempt()


def test_a_removed_app_of_a_third_party_is_no_newer_release(project):
    MigrationRecorder(connection).record_applied("formerly_installed", "0001_initial")
    require_current_schema()


def test_servers_that_start_together_on_an_empty_database_migrate_it_once(empty):
    assert "teams.0001_initial" in schema_state().pending
    with pytest.raises(SchemaNotMigrated, match="agentcache migrate"):
        require_current_schema()
    begin = threading.Barrier(3)
    applied = []

    def start():
        begin.wait()
        try:
            applied.append(migrate())
        finally:
            connections.close_all()

    starts = [threading.Thread(target=start) for _ in range(3)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert sorted(map(bool, applied)) == [False, False, True]
    assert {f"{app}.0001_initial" for app in ("accounts", "teams", "analytics", "jobs")} <= set(max(applied, key=len))
    require_current_schema()
    assert migrate() == ()
