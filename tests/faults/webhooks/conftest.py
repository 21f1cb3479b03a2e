import pytest

from tests.support.django_project import (  # noqa: F401 - fixtures
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
def team(project):  # noqa: F811 - the fixture
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def receiver():
    with WebhookReceiver() as receiver:
        yield receiver
