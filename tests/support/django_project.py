"""Points the Django project of this test process at a database of the test's own.

Django is set up once per process. A module that imports models at its top needs a `conftest.py` beside it with
`from tests.support.django_project import …`, which sets Django up before the module is read.
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
    """The URL of a migrated database to copy from."""
    return _migrated_on(postgres_url, tmp_path_factory.mktemp("migrated"))


_migrated: dict[str, str] = {}


def _migrated_on(server_url: str, folder: Path) -> str:
    """Return the URL of a server's migrated database: its own, or one that is made now and known from then on.

    Not left to the fixture: pytest makes a fixture anew for each `conftest.py` that imports it, and migrating takes three
    seconds of processor time.
    """
    if server_url not in _migrated:
        url = urlunsplit(urlsplit(server_url)._replace(path=f"/{MIGRATED_DATABASE}"))
        if not has_migrated_database(server_url):
            url = create_database(server_url)
            with use_settings(Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), "AGENTCACHE_DATABASE_URL": url})):
                migrate()
        _migrated[server_url] = url
    return _migrated[server_url]


_pools: dict[str, PostgresPool] = {}


def _pool(server_url: str, migrated_url: str) -> PostgresPool:
    """Return the databases of this process on a server; see `_migrated_on` for why this is no fixture."""
    if server_url not in _pools:
        _pools[server_url] = PostgresPool(
            partial(create_database, server_url, migrated_url), partial(drop_database, server_url)
        )
    return _pools[server_url]


@pytest.fixture
def postgresql_project(tmp_path: Path, postgres_url: str, migrated_postgresql: str) -> Iterator[Settings]:
    """Settings of a project over an empty migrated PostgreSQL database."""
    with _pool(postgres_url, migrated_postgresql).database() as url:
        settings = Settings.from_env({
            "AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache"), "AGENTCACHE_DATABASE_URL": url, **_PATIENCE,
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
