"""Jobs of one lane never take the room of the others, and jobs of one pool never that of another."""

import asyncio

import pytest

from agentcache.jobs import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.models import Job
from agentcache.jobs.queries import worker_sign
from agentcache.jobs.services import Lanes
from agentcache.jobs.worker import JobKind, Pool, TryAgain, Worker, Workers
from agentcache.kit.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


def enqueue(clock, lanes):
    for number, lane in enumerate(lanes):
        services.enqueue(f"{number:04}", "greet", {"lane": lane}, services.at(clock.now() + number / 1000), lane=lane)
    clock.move(60)


def claim(clock, limit, most, running=None):
    jobs = services.claim_due(["greet"], limit, services.at(clock.now()), 30.0, Lanes(most, running or {}))
    return [job.lane for job in jobs]


def test_a_long_queue_of_one_lane_leaves_room_for_those_behind_it(project, clock):
    enqueue(clock, ["slow"] * 40 + ["quick", ""])
    assert claim(clock, 10, most=2) == ["slow", "slow", "quick", ""]


def test_what_runs_counts(project, clock):
    enqueue(clock, ["slow", "quick", "slow", "quick"])
    assert claim(clock, 10, most=2, running={"slow": 2, "quick": 1}) == ["quick"]


def test_without_a_bound_lanes_are_only_names(project, clock):
    enqueue(clock, ["slow"] * 5)
    assert claim(clock, 3, most=None) == ["slow"] * 3


def test_what_calls_a_url_for_a_tenant_is_in_a_lane_of_both(project, clock):
    for job_id, payload in {
        "a": {"tenant_id": "t1", "url": "https://one.example.com/x?y"},
        "b": {"tenant_id": "t1", "url": "https://one.example.com/z"},
        "c": {"tenant_id": "t2", "url": "https://one.example.com/x"},
        "d": {"tenant_id": "t1", "url": "https://" + "long." * 40 + "example.com/"},
        "e": {"tenant_id": "t1"},
    }.items():
        services.enqueue(job_id, "greet", payload, services.at(clock.now()))
    lanes = dict(Job.objects.values_list("id", "lane"))
    assert lanes["a"] == lanes["b"] == "t1:one.example.com"
    assert lanes["c"] == "t2:one.example.com"
    assert (len(lanes["d"]), lanes["e"]) == (80, "")


def test_a_queue_behind_a_hanging_receiver_is_no_sign_of_a_missing_worker(project, clock):
    now = services.at(clock.now() + 3600)
    services.enqueue("hook", "greet", {}, services.at(clock.now()), lane="slow")
    assert worker_sign(now).overdue_since is None
    services.enqueue("mail", "greet", {}, services.at(clock.now()))
    assert worker_sign(now).overdue_since == services.at(clock.now())


def test_jobs_without_a_lane_are_bounded_by_the_room_alone(project, clock):
    enqueue(clock, [""] * 5)
    assert claim(clock, 4, most=1) == [""] * 4


async def test_a_worker_runs_a_few_of_each_lane(threads, clock):
    await threads.run(lambda: enqueue(clock, ["a"] * 5 + ["b"] * 5))
    going, release = [], asyncio.Event()

    async def greet(payload):
        going.append(payload["lane"])
        await release.wait()

    worker = Worker(threads, {"greet": JobKind(greet)}, clock=clock, concurrency=8, concurrency_of_lane=2)
    while await worker.start_due():
        await asyncio.sleep(0)
    assert sorted(going) == ["a", "a", "b", "b"]
    release.set()
    await worker.settle()
    while await worker.start_due():
        await worker.settle()
    assert len(going) == 10


async def test_a_job_that_keeps_its_own_schedule_is_never_worn_out(threads, clock):
    tries = []

    async def greet(_payload):
        tries.append(clock.now())
        raise TryAgain(100.0)

    await threads.run(lambda: services.enqueue("one", "greet", {}, services.at(clock.now())))
    worker = Worker(threads, {"greet": JobKind(greet)}, clock=clock)
    for _ in range(services.MAX_ATTEMPTS + 3):
        assert await worker.start_due() == 1
        await worker.settle()
        clock.move(99)
        assert await worker.start_due() == 0
        clock.move(1)
    assert len(tries) == services.MAX_ATTEMPTS + 3
    row = await threads.run(Job.objects.get)
    assert (row.failed_at, row.attempts, row.claim) == (None, 0, "")


async def test_hanging_webhooks_hold_up_no_mail(threads, clock):
    done, stop = asyncio.Event(), asyncio.Event()

    async def hang(_payload):
        await asyncio.sleep(3600)

    async def mail(_payload):
        done.set()

    def fill():
        for number in range(300):
            services.enqueue(f"hook{number}", "hook", {}, services.at(0.0), lane=f"endpoint {number}")
        services.enqueue("mail", "mail", {}, services.at(0.0))

    await threads.run(fill)
    kinds = {"hook": JobKind(hang, pool=Pool.WEBHOOKS), "mail": JobKind(mail)}
    workers = Workers(dict.fromkeys(Pool, threads), kinds)
    running = asyncio.create_task(workers.run(stop, drain_seconds=0.0))
    async with asyncio.timeout(20):
        await done.wait()
        stop.set()
        await running


def test_periodic_jobs_belong_to_the_quick_pool(threads):
    async def hang(_payload):
        pass

    with pytest.raises(ValueError, match="periodic"):
        Workers(dict.fromkeys(Pool, threads), {"hook": JobKind(hang, 60.0, pool=Pool.WEBHOOKS)})
