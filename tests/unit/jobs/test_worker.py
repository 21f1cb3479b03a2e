import asyncio

import pytest

from agentcache.gateway.ports import JobQueue
from agentcache.jobs import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.models import Job
from agentcache.jobs.queue import DatabaseJobQueue
from agentcache.jobs.worker import GiveUp, JobKind, Worker
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import Unavailable


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def queue(threads, clock) -> JobQueue:
    return DatabaseJobQueue(threads, clock)


def worker_for(threads, clock, function, **options):
    return Worker(threads, {"greet": JobKind(function)}, clock=clock, **options)


async def rows(threads):
    return await threads.run(lambda: list(Job.objects.all()))


async def test_an_enqueued_job_is_done_once_and_gone(threads, clock, queue):
    done = []

    async def greet(payload):
        done.append(payload)

    await queue.enqueue("greet", {"to": "you"})
    worker = worker_for(threads, clock, greet)
    assert await worker.start_due() == 1
    await worker.settle()
    assert await worker.start_due() == 0
    assert done == [{"to": "you"}]
    assert await rows(threads) == []


async def test_a_delayed_job_waits(threads, clock, queue):
    async def greet(_payload):
        pass

    await queue.enqueue("greet", {}, delay_seconds=60)
    worker = worker_for(threads, clock, greet)
    clock.move(59)
    assert await worker.start_due() == 0
    clock.move(1)
    assert await worker.start_due() == 1
    await worker.settle()


async def test_a_job_that_fails_is_tried_again_and_only_the_kind_of_error_is_kept(threads, clock, queue):
    tries = []

    async def greet(_payload):
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("secret of a customer")

    await queue.enqueue("greet", {})
    worker = worker_for(threads, clock, greet)
    await worker.start_due()
    await worker.settle()
    [row] = await rows(threads)
    assert row.last_error == "Unavailable: unavailable"
    assert await worker.start_due() == 0
    clock.move(services.RETRY_AFTER_SECONDS[0] * 1.1)
    assert await worker.start_due() == 1
    await worker.settle()
    assert await rows(threads) == []


async def test_a_job_that_can_never_succeed_is_given_up_at_once(threads, clock, queue):
    async def greet(_payload):
        raise GiveUp("the receiver is gone")

    await queue.enqueue("greet", {})
    worker = worker_for(threads, clock, greet)
    await worker.start_due()
    await worker.settle()
    [row] = await rows(threads)
    assert row.failed_at is not None


async def test_no_more_jobs_run_at_once_than_there_is_room_for(threads, clock, queue):
    release = asyncio.Event()
    running = []

    async def greet(_payload):
        running.append(1)
        await release.wait()

    for _ in range(3):
        await queue.enqueue("greet", {})
    worker = worker_for(threads, clock, greet, concurrency=2)
    assert await worker.start_due() == 2
    assert await worker.start_due() == 0
    release.set()
    await worker.settle()
    assert await worker.start_due() == 1
    await worker.settle()
    assert len(running) == 3


async def test_a_running_worker_finds_work_and_stops_when_told(threads, clock, queue):
    done = asyncio.Event()
    stop = asyncio.Event()

    async def greet(_payload):
        done.set()

    worker = worker_for(threads, clock, greet, poll_seconds=0.01)
    running = asyncio.create_task(worker.run(stop))
    await queue.enqueue("greet", {})
    await done.wait()
    stop.set()
    await running
    assert await rows(threads) == []


async def test_stopping_waits_for_running_jobs(threads, clock, queue):
    begun = asyncio.Event()
    release = asyncio.Event()
    stop = asyncio.Event()
    ended = []

    async def greet(_payload):
        begun.set()
        await release.wait()
        ended.append(1)

    await queue.enqueue("greet", {})
    running = asyncio.create_task(worker_for(threads, clock, greet, poll_seconds=0.01).run(stop))
    await begun.wait()
    stop.set()
    asyncio.get_running_loop().call_later(0.05, release.set)
    await running
    assert ended == [1]


async def test_a_job_that_outlasts_the_drain_is_given_back_uncounted(threads, clock, queue):
    begun = asyncio.Event()
    stop = asyncio.Event()

    async def greet(_payload):
        begun.set()
        await asyncio.Event().wait()

    await queue.enqueue("greet", {})
    running = asyncio.create_task(worker_for(threads, clock, greet, poll_seconds=0.01).run(stop, drain_seconds=0.01))
    await begun.wait()
    stop.set()
    await running
    [row] = await rows(threads)
    assert (row.attempts, row.claim, row.due_at) == (0, "", services.at(clock.now()))


async def test_a_long_job_keeps_its_lease(threads, clock, queue):
    begun = asyncio.Event()
    release = asyncio.Event()

    async def greet(_payload):
        begun.set()
        await release.wait()

    await queue.enqueue("greet", {})
    worker = worker_for(threads, clock, greet, lease_seconds=0.03)
    await worker.start_due()
    await begun.wait()
    [before] = await rows(threads)
    clock.move(100)
    while (await rows(threads))[0].due_at == before.due_at:
        await asyncio.sleep(0.01)
    release.set()
    await worker.settle()
    assert await rows(threads) == []


async def test_periodic_jobs_are_there_after_the_start(threads, clock):
    done = asyncio.Event()
    stop = asyncio.Event()

    async def tidy(_payload):
        done.set()

    worker = Worker(threads, {"tidy": JobKind(tidy, period_seconds=60)}, clock=clock, poll_seconds=0.01)
    running = asyncio.create_task(worker.run(stop))
    await done.wait()
    stop.set()
    await running
    [row] = await rows(threads)
    assert row.due_at == services.at(clock.now() + 60)


async def test_a_database_that_is_away_does_not_end_the_worker(threads, clock, queue, monkeypatch):
    done = asyncio.Event()
    stop = asyncio.Event()
    asked = []
    claim_due = services.claim_due

    def sometimes(*arguments):
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable
        return claim_due(*arguments)

    async def greet(_payload):
        done.set()

    monkeypatch.setattr(services, "claim_due", sometimes)
    await queue.enqueue("greet", {})
    worker = worker_for(threads, clock, greet, poll_seconds=0.01, database_pause_seconds=0.01)
    running = asyncio.create_task(worker.run(stop))
    await done.wait()
    stop.set()
    await running
    assert len(asked) >= 2
