import asyncio
import threading

import pytest
from django.db import OperationalError, connection

from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.errors import Unavailable


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(threads=1, pending_max=2)
    yield threads
    threads.close()


@pytest.fixture
def blocked(threads):
    """Keeps the only thread busy until it is released."""
    release = threading.Event()
    begun = threading.Event()

    def block():
        begun.set()
        release.wait()

    threads.post(block)
    begun.wait()
    yield release
    release.set()


async def test_work_sees_the_database_and_its_result_comes_back(threads):
    def ask():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 40 + 2")
            return cursor.fetchone()[0]

    assert await threads.run(ask) == 42


async def test_an_error_of_the_work_reaches_its_caller(threads):
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await threads.run(fail)


async def test_a_database_that_is_away_is_unavailable(threads):
    def fail():
        raise OperationalError("server closed the connection")

    with pytest.raises(Unavailable) as caught:
        await threads.run(fail)
    assert "server closed" not in caught.value.message


async def test_a_database_that_hangs_is_unavailable_and_work_given_up_is_not_begun(threads, blocked):
    ran = []
    with pytest.raises(Unavailable):
        await threads.run(lambda: ran.append("late"), within_seconds=0.01)
    blocked.set()
    assert await threads.run(lambda: "next") == "next"
    assert ran == []


async def test_more_waiting_work_than_allowed_is_refused_at_once(threads, blocked):
    waiting = [asyncio.create_task(threads.run(lambda: 1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="Too much"):
        await threads.run(lambda: 1)
    threads.post(lambda: pytest.fail("dropped work was run"))
    blocked.set()
    assert await asyncio.gather(*waiting) == [1, 1]


async def test_closing_finishes_what_waits_and_takes_nothing_more(threads, blocked):
    done = []
    threads.post(lambda: done.append(1))
    blocked.set()
    threads.close()
    assert done == [1]
    with pytest.raises(Unavailable):
        await threads.run(lambda: 1)
