import time

import pytest

from tests.support.django_project import (  # noqa: F401 - fixtures
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)


@pytest.fixture
def team(project):  # noqa: F811 - the fixture
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def clock():
    from agentcache.kit.clock import ManualClock

    return ManualClock(time.time() + 5)


@pytest.fixture
def threads(project):  # noqa: F811 - the fixture
    from agentcache.jobs.database import DatabaseThreads

    threads = DatabaseThreads()
    yield threads
    threads.close()
