import pytest

from tests.support.django_project import (  # noqa: F401 - fixtures
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)


@pytest.fixture
def team(sqlite_project):  # noqa: F811 - the fixture
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def endpoint(team):
    from tests.support.webhooks import make_endpoint

    return make_endpoint(team)
