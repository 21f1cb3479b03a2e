import sys

import pytest
from django.conf import settings as django_conf
from django.db import connection

from agentcache.settings import Settings
from agentcache.web.database_url import django_database
from agentcache.web.project import configure, django_values
from agentcache.web.sqlite import OLDEST_SAFE_SQLITE, SQLiteTooOld, install_sqlite, require_safe


def database(url):
    return django_database(Settings.from_env({"AGENTCACHE_DATABASE_URL": url}))


def test_sqlite_is_the_bundled_one_everywhere(sqlite_project):
    import sqlite3

    assert sqlite3.sqlite_version_info >= OLDEST_SAFE_SQLITE
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()")
        assert cursor.fetchone()[0] == install_sqlite() == sqlite3.sqlite_version
    assert sys.modules["sqlite3"].__name__ == "pysqlite3"


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 2)])
def test_an_sqlite_with_the_wal_reset_bug_is_refused(version):
    with pytest.raises(SQLiteTooOld, match=r"3\.51\.3"):
        require_safe(version)


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 53, 0), (4, 0, 0)])
def test_a_current_sqlite_is_accepted(version):
    require_safe(version)


def test_what_is_committed_to_sqlite_survives_a_power_cut_and_writers_take_turns(sqlite_project):
    with connection.cursor() as cursor:
        found = {}
        for pragma in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys"):
            cursor.execute(f"PRAGMA {pragma}")
            found[pragma] = cursor.fetchone()[0]
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1}
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_without_a_url_the_database_is_in_the_data_directory(sqlite_project):
    assert connection.settings_dict["NAME"] == str(sqlite_project.app_db)


def test_an_sqlite_url_with_four_slashes_is_absolute():
    assert database("sqlite:////var/lib/my%20app.db")["NAME"] == "/var/lib/my app.db"


def test_a_postgresql_url_is_taken_apart():
    parts = database("postgresql://ann:p%40ss@db.example:6543/agent%2Dcache?sslmode=require")
    named = {name: parts[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    assert named == {"USER": "ann", "PASSWORD": "p@ss", "HOST": "db.example", "PORT": 6543, "NAME": "agent-cache"}
    assert parts["OPTIONS"]["sslmode"] == "require"
    assert "statement_timeout" in parts["OPTIONS"]["options"]


def test_a_stuck_statement_ends_by_itself(postgresql_project):
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "30s"


def test_there_is_never_a_debug_page(project):
    assert django_conf.DEBUG is False
    assert django_values(Settings.from_env({"AGENTCACHE_LOG_LEVEL": "debug"}), ["x"])["DEBUG"] is False


def test_the_signing_key_is_not_the_secret_key_and_changes_with_it(tmp_path):
    from agentcache.teams.secrets import ServerSecrets

    keys = []
    for secret in ("one-secret-of-thirty-two-bytes-ab", "two-secret-of-thirty-two-bytes-cd"):
        settings = Settings.from_env({"AGENTCACHE_SECRET_KEY": secret})
        keys.append(ServerSecrets.of(settings).signing_keys[0])
        assert secret not in keys[-1]
    assert keys[0] != keys[1]


def test_cookies_over_tls_belong_to_this_host_alone():
    values = django_values(Settings.from_env({"AGENTCACHE_PUBLIC_URL": "https://cache.example.com"}), ["x"])
    assert values["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert values["SESSION_COOKIE_SECURE"] and values["SESSION_COOKIE_HTTPONLY"]


def test_a_process_is_set_up_for_one_set_of_settings(sqlite_project):
    configure(sqlite_project)
    with pytest.raises(RuntimeError, match="already"):
        configure(Settings.from_env({"AGENTCACHE_PORT": "9999"}))
