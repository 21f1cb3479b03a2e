from dataclasses import replace
from pathlib import Path

import pytest

from agentcache.settings import Settings
from agentcache.supervisor import preflight
from agentcache.supervisor.errors import CannotStart


@pytest.fixture
def settings(tmp_path):
    return Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path / "data")})


def test_a_machine_that_is_as_it_should_be(settings):
    preflight.preflight(settings)
    assert not settings.data_dir.exists()


def test_an_existing_installation(settings):
    settings.data_dir.mkdir(mode=0o700)
    settings.secret_key_file.write_text("0123456789abcdef" * 4)
    settings.secret_key_file.chmod(0o600)
    settings.app_db.write_bytes(preflight.SQLITE_MAGIC + bytes(4080))
    settings.cache_db.touch()
    before = sorted(settings.data_dir.iterdir())
    preflight.preflight(settings)
    assert sorted(settings.data_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "data/app.db"),
        ("sqlite:////var/lib/records.db", "/var/lib/records.db"),
        ("sqlite:////var/lib/my%20records.db", "/var/lib/my records.db"),
        ("postgresql://127.0.0.1/agentcache", None),
    ],
)
def test_where_the_records_are(settings, tmp_path, url, path):
    expected = None if path is None else tmp_path / path
    assert preflight.database_file(replace(settings, database_url=url)) == expected


def test_a_relative_database_url_starts_at_the_working_directory(settings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert preflight.database_file(replace(settings, database_url="sqlite:///app.db")) == Path(tmp_path / "app.db")


def test_a_database_whose_folder_is_a_file(settings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="is not a directory"):
        preflight.preflight(replace(settings, database_url=f"sqlite:///{tmp_path}/file/app.db"))


def test_an_old_sqlite_library_is_refused(monkeypatch):
    monkeypatch.setattr("pysqlite3.sqlite_version", "3.51.2")
    with pytest.raises(CannotStart, match=r"pysqlite3 carries SQLite 3\.51\.2.*corrupt"):
        preflight.check_sqlite_libraries()


def test_a_secret_from_the_environment_needs_no_file(settings):
    settings.data_dir.mkdir(mode=0o700)
    settings.app_db.write_bytes(preflight.SQLITE_MAGIC)
    preflight.preflight(replace(settings, secret_key="0123456789abcdef" * 2))
