import time

import pytest


@pytest.fixture
def team(project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def clock():
    from agentcache.kit.clock import ManualClock

    return ManualClock(time.time() + 5)


@pytest.fixture
def threads(project):
    from agentcache.jobs.database import DatabaseThreads

    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()
