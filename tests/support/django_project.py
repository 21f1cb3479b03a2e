"""Points the Django project of this test process at a database of the test's own.

Importing it sets Django up, once per process; `tests/conftest.py` does, so that any test may import models at its top.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from agentcache.settings import Settings
from agentcache.web.dry_project import configure_without_database

configure_without_database()

from asgiref.local import Local  # noqa: E402
from django.conf import settings as django_conf  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

from agentcache.teams.secrets import ServerSecrets  # noqa: E402
from agentcache.web.project import django_values  # noqa: E402
from agentcache.web.schema import migrate  # noqa: E402
from tests.support.migrated_records import MIGRATED_DATABASE, has_migrated_database, put_into  # noqa: E402
from tests.support.postgres_pool import PostgresPool  # noqa: E402
from tests.support.postgres_server import create_database, drop_database  # noqa: E402


@contextmanager
def use_settings(settings: Settings) -> Iterator[None]:
    """Have Django work with these settings and their database inside the block, in every thread."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    values = django_values(settings, ServerSecrets.of(settings).signing_keys)
    databases = values.pop("DATABASES")
    differing = {name: value for name, value in values.items() if getattr(django_conf, name) != value}
    former = connections.settings, connections._connections  # type: ignore[attr-defined]  # of Django itself
    with override_settings(**differing):
        connections.settings = connections.configure_settings(databases)
        connections._connections = Local(connections.thread_critical)  # type: ignore[attr-defined]  # a fresh set
        try:
            yield
        finally:
            connections.close_all()
            connections.settings, connections._connections = former  # type: ignore[attr-defined]  # as before


#: A busy test machine is no slow store.
_PATIENCE = {"AGENTCACHE_STORE_BUDGET_MS": "10000"}


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated `app.db` to copy from."""
    folder = tmp_path_factory.mktemp("migrated")
    put_into(folder)
    return folder / "app.db"


@pytest.fixture(scope="session")
def migrated_postgresql(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> str:
    """The URL of a migrated database to copy from: the server's own, or one that is made now."""
    if has_migrated_database(postgres_url):
        return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{MIGRATED_DATABASE}"))
    url, folder = create_database(postgres_url), tmp_path_factory.mktemp("migrated")
    with use_settings(Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), "AGENTCACHE_DATABASE_URL": url})):
        migrate()
    return url


@pytest.fixture(scope="session")
def _postgres_pool(postgres_url: str, migrated_postgresql: str) -> PostgresPool:
    return PostgresPool(
        partial(create_database, postgres_url, migrated_postgresql), partial(drop_database, postgres_url)
    )


@pytest.fixture
def postgresql_project(tmp_path: Path, _postgres_pool: PostgresPool) -> Iterator[Settings]:
    """Settings of a project over an empty migrated PostgreSQL database."""
    with _postgres_pool.database() as url:
        # The product waits two seconds for a connection, which a busy test machine may need.
        patient = f"{url}?connect_timeout=60"
        settings = Settings.from_env({
            "AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache"), "AGENTCACHE_DATABASE_URL": patient, **_PATIENCE,
        })  # fmt: skip
        with use_settings(settings):
            yield settings


@pytest.fixture
def sqlite_project(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Settings]:
    """Settings of a project over an empty migrated SQLite file."""
    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache"), **_PATIENCE})
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.app_db)
    with use_settings(settings):
        yield settings


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest) -> Settings:
    """Settings of a project over an empty migrated database, once for each engine."""
    settings: Settings = request.getfixturevalue(f"{request.param}_project")
    return settings
