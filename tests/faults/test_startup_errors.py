"""F29: every configuration that cannot work is refused in one clear line, before anything is written."""

import os
import socket
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from agentcache.cli.app import app
from agentcache.cli.exit_codes import ExitCode
from agentcache.supervisor.run import Supervisor
from tests.support.migrated_records import put_into
from tests.support.reliability import record

SECRET = "f3b1c9d27a5e48069d1b7c4e2f80a6d5"

#: Setting, its value, words that the line must hold besides the setting's name.
BAD_SETTINGS = [
    ("PORT", "http", "whole number"),
    ("PORT", "70000", "65535"),
    ("PORT", "-1", "whole number"),
    ("HOST", "not a host", "host name"),
    ("HOST", "http://127.0.0.1", "host name"),
    ("HOST", "203.0.113.7", "not an address of this machine"),
    ("WORKERS", "0", "from 1"),
    ("WORKERS", "many", "whole number"),
    ("SECRET_KEY", "short", "32 bytes"),
    ("SECRET_KEY", "a" * 64, "guessed"),
    ("SECRET_KEY_FALLBACKS", f"{SECRET},tiny", "32 bytes"),
    ("DATABASE_URL", "mysql://127.0.0.1/agentcache", "postgres"),
    ("DATABASE_URL", "postgresql://127.0.0.1", "database"),
    ("DATABASE_URL", "sqlite:app.db", "sqlite:///"),
    ("REDIS_URL", "http://127.0.0.1:6379", "redis://"),
    ("REDIS_URL", "127.0.0.1:6379", "redis://"),
    ("UPSTREAM_OPENAI", "ftp://127.0.0.1", "https://"),
    ("UPSTREAM_OPENAI", "http://user:word@127.0.0.1/v1", "credentials"),
    ("UPSTREAM_OPENAI", "http://127.0.0.1/v1?key=1", "query"),
    ("UPSTREAM_API", "http://127.0.0.1:9000", "another name"),
    ("UPSTREAM_1X", "http://127.0.0.1:9000", "letter"),
    ("PUBLIC_URL", "https://cache.example.com/base", "path"),
    ("ALLOWED_HOSTS", "https://cache.example.com", "not a host name"),
    ("LOG_LEVEL", "loud", "debug, info"),
    ("DEFAULT_TTL_SECONDS", "0", "whole number"),
    ("STALE_GRACE_SECONDS", "-5", "whole number"),
    ("CACHE_MAX_BYTES", "lots", "10GiB"),
    ("CACHE_MAX_BYTES", "1kB", "1000 bytes"),
    ("ENTRY_MAX_BYTES", "12 parsecs", "8MiB"),
    ("BODY_MAX_BYTES", "1", "1024"),
    ("ENCRYPT_ENTRIES", "maybe", "neither on nor off"),
    ("STORE_BUDGET_MS", "0", "whole number"),
    ("UPSTREAM_CONNECT_SECONDS", "soon", "seconds"),
    ("UPSTREAM_TOTAL_SECONDS", "999999", "86400"),
    ("DRAIN_SECONDS", "for ever", "seconds"),
    ("METRICS_PORT", "8787", "AGENTCACHE_PORT"),
    ("TRUSTED_PROXIES", "all", "whole number"),
    ("EGRESS_ALLOW", "10.0.0.1/8", "10.0.0.0/8"),
    ("OTEL_ENDPOINT", "127.0.0.1:4318", "http://"),
    ("PRICES_FILE", "/nowhere/prices.json", "file that exists"),
    ("PROT", "8787", "Did you mean AGENTCACHE_PORT?"),
    ("DATABSE_URL", "sqlite:////tmp/app.db", "Did you mean AGENTCACHE_DATABASE_URL?"),
    ("CACHE_TTL", "60", "is not a setting"),
]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AGENTCACHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTCACHE_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def no_start(monkeypatch):
    async def run(self):
        raise AssertionError("the server was about to start")

    monkeypatch.setattr(Supervisor, "run", run)


def tree(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def serve_in_process():
    outcome = CliRunner().invoke(app, ["serve"])
    return outcome.exit_code, outcome.stderr


def assert_refused(tmp_path, *words, code=ExitCode.CONFIGURATION):
    before = tree(tmp_path)
    exit_code, said = serve_in_process()
    lines = said.strip().splitlines()
    assert exit_code == code, said
    assert len(lines) == 1, said
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    # What, where and how: the line ends with what to do, in a sentence of its own.
    assert lines[0].rstrip(".").count(". ") >= 1 or "Run: " in lines[0]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("name", "text", "words"), BAD_SETTINGS, ids=lambda value: str(value)[:30])
def test_a_setting_that_cannot_work(monkeypatch, tmp_path, name, text, words):
    monkeypatch.setenv(f"AGENTCACHE_{name}", text)
    assert_refused(tmp_path, f"AGENTCACHE_{name}", words)
    assert not (tmp_path / "data").exists()


def test_every_bad_setting_gets_one_clear_line(monkeypatch, tmp_path):
    """F29, counted."""
    for name, text, words in BAD_SETTINGS:
        with monkeypatch.context() as environment:
            environment.setenv(f"AGENTCACHE_{name}", text)
            assert_refused(tmp_path, f"AGENTCACHE_{name}", words)
    record("F29", settings=len(BAD_SETTINGS), unclear=0)


def test_the_value_of_a_secret_is_never_repeated(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTCACHE_SECRET_KEY", "hunter2-is-too-short")
    _, said = serve_in_process()
    assert "hunter2" not in said


def test_entries_larger_than_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTCACHE_CACHE_MAX_BYTES", "1MiB")
    assert_refused(tmp_path, "AGENTCACHE_ENTRY_MAX_BYTES", "AGENTCACHE_CACHE_MAX_BYTES")


def test_a_data_directory_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("mine")
    assert_refused(tmp_path, "AGENTCACHE_DATA_DIR", "not a directory")


def test_a_data_directory_below_a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("AGENTCACHE_DATA_DIR", str(tmp_path / "file" / "data"))
    assert_refused(tmp_path, "AGENTCACHE_DATA_DIR", "not a directory")


def test_a_data_directory_that_everybody_may_write(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    assert_refused(tmp_path, "AGENTCACHE_DATA_DIR", "chmod 700")


@pytest.mark.parametrize("name", ["app.db", "cache.db"])
def test_a_database_file_that_is_something_else(tmp_path, name):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / name).write_text("Dear diary, today I was mistaken for a database.")
    assert_refused(tmp_path, name, "not a SQLite database")


@pytest.mark.parametrize("name", ["app.db", "cache.db"])
def test_a_database_that_is_a_directory(tmp_path, name):
    (tmp_path / "data" / name).mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    assert_refused(tmp_path, name, "not a file")


def test_a_secret_that_others_may_read(tmp_path):
    secret = tmp_path / "data" / "secret.key"
    secret.parent.mkdir(mode=0o700)
    secret.write_text(SECRET * 2)
    secret.chmod(0o644)
    assert_refused(tmp_path, "secret.key", "chmod 600")


def test_a_secret_that_is_too_short(tmp_path):
    secret = tmp_path / "data" / "secret.key"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("short")
    secret.chmod(0o600)
    assert_refused(tmp_path, "secret.key", "32 bytes", "backup")


def test_a_secret_that_went_missing(tmp_path):
    database = tmp_path / "data" / "app.db"
    database.parent.mkdir(mode=0o700)
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (x)")
    connection.close()
    assert_refused(tmp_path, "secret.key", "missing", "AGENTCACHE_SECRET_KEY")


@pytest.mark.parametrize("text", ["{", "[1, 2]", ""])
def test_a_prices_file_that_holds_no_prices(monkeypatch, tmp_path, text):
    (tmp_path / "prices.json").write_text(text)
    monkeypatch.setenv("AGENTCACHE_PRICES_FILE", str(tmp_path / "prices.json"))
    assert_refused(tmp_path, "AGENTCACHE_PRICES_FILE", "prices.json")


def test_a_port_that_is_taken(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("AGENTCACHE_PORT", str(port))
        assert_refused(tmp_path, "AGENTCACHE_PORT", f"127.0.0.1:{port}", "another program", "choose another port")


def test_a_metrics_port_that_is_taken(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as free:
        port = other.getsockname()[1]
        monkeypatch.setenv("AGENTCACHE_METRICS_PORT", str(port))
        monkeypatch.setenv("AGENTCACHE_PORT", str(free.getsockname()[1]))
        free.close()
        assert_refused(tmp_path, "AGENTCACHE_METRICS_PORT", f"127.0.0.1:{port}", "another program")


def run_command(**settings):
    environ = {**os.environ, **settings}
    command = [sys.executable, "-m", "agentcache", "serve", "--port", "0"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def assert_one_line(finished, *words, code=ExitCode.CONFIGURATION):
    lines = finished.stderr.strip().splitlines()
    assert finished.returncode == code, finished.stderr
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_the_real_command_refuses_a_bad_setting(tmp_path):
    assert_one_line(run_command(AGENTCACHE_LOG_LEVEL="loud"), "AGENTCACHE_LOG_LEVEL", "debug, info")
    assert not (tmp_path / "data").exists()


def test_a_database_server_that_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    finished = run_command(AGENTCACHE_DATABASE_URL=f"postgresql://app:hunter2@127.0.0.1:{port}/agentcache")
    assert_one_line(finished, "AGENTCACHE_DATABASE_URL", "no connection", code=ExitCode.UNREACHABLE)
    assert "hunter2" not in finished.stderr
    assert not (tmp_path / "data").exists()


def prepared_data(tmp_path):
    put_into(tmp_path / "data")
    return tmp_path / "data/app.db"


def test_a_database_from_a_newer_release(tmp_path):
    database = prepared_data(tmp_path)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "insert into django_migrations (app, name, applied) values ('teams', '0999_tomorrow', '2030-01-01')"
        )
    connection.close()
    assert_one_line(run_command(), "newer release", "teams.0999_tomorrow", "restore a backup")


def test_a_database_that_is_torn(tmp_path):
    database = prepared_data(tmp_path)
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    assert_one_line(run_command(), "app.db", "backup")


def test_a_secret_that_is_another_one_than_the_keys_were_made_with(tmp_path):
    prepared_data(tmp_path)
    (tmp_path / "data" / "secret.key").unlink()
    assert_one_line(run_command(), "secret.key", "missing")
