import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agentcache.engine.stores.open_stores import open_stores
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import GuardedClient, GuardedLimits
from tests.support.watched_site import watched_site

LOOPBACK = AllowList.parse("127.0.0.0/8")


@pytest.fixture
def team(project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def settings(project):
    """Settings under which loopback may be watched."""
    return replace(project, egress_allow=LOOPBACK)


@pytest.fixture
def clock():
    return ManualClock(time.time())


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
async def stores(project, clock):
    stores = open_stores(project, clock)
    yield stores
    await stores.close()


@pytest.fixture
async def site():
    async with watched_site() as site:
        yield site


@pytest.fixture
async def watch(threads, stores, clock):
    async with watching(threads, stores, clock) as watch:
        yield watch


@asynccontextmanager
async def watching(threads, stores, clock, **options):
    from agentcache.listeners.reading.reader import Reader
    from agentcache.listeners.watching import Watch

    client = GuardedClient(LOOPBACK, GuardedLimits(total_seconds=30.0, body_bytes_max=200_000))
    async with Reader() as reader:
        yield Watch(threads, stores.entries, client, reader, clock, "https://cache.example.com", **options)
