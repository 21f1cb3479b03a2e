import pytest

from tests.support.django_project import (  # noqa: F401 - fixtures
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Each test counts and asks anew."""
    from agentcache.site import live_figures, server_status

    live_figures.forget()
    server_status.forget()
