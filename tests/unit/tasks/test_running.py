"""Tasks done by the worker: in steps, cancelled, interrupted, failing."""

import asyncio
from functools import partial

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.jobs.models import Job
from agentcache.jobs.services import MAX_ATTEMPTS, at, claim_due
from agentcache.jobs.worker import JobKind, Worker
from agentcache.kit.errors import BadRequest
from agentcache.mails.models import Mail
from agentcache.tasks import queries, services
from agentcache.tasks.errors import TaskEnded, TaskNotFound, TaskTakenOver
from agentcache.tasks.jobs import RETRY_AFTER_SECONDS, TaskRunner
from agentcache.tasks.models import Task, TaskState
from agentcache.tasks.services import RUN, Progress
from tests.support.teams import make_team

STEPS = 6


async def count(context):
    """Make one row at each step."""
    while (number := context.cursor.get("next", 0)) < STEPS:
        await context.step(partial(_make_row, context.task_id, number))


def _make_row(task_id, number):
    Mail.objects.create(id=f"{task_id[-20:]}{number}", template="none", to="a@example.com", subject="s")
    return Progress(done=1, cursor={"next": number + 1}, lines=[f"row {number}"], result={"last": number})


def worker_for(threads, clock, function, **options):
    ended = []
    runner = TaskRunner(threads, {"count": function}, clock, on_end=lambda task: ended.append(task.state))
    worker = Worker(threads, {RUN: JobKind(runner)}, clock=clock, **options)
    return worker, ended


def start(team, **members):
    return services.start(team, "count", "Count to six", {}, total=STEPS, actor=Actor.system(), **members)


async def settle(worker):
    while await worker.start_due():
        await worker.settle()


async def test_a_task_is_done_in_steps_and_tells_how_far_it_is(team, threads, clock):
    task = await threads.run(partial(start, team))
    seen = []

    async def watched(context):
        while context.cursor.get("next", 0) < STEPS:
            clock.move(2)
            await context.step(partial(_make_row, context.task_id, context.cursor.get("next", 0)))
            seen.append(await threads.run(partial(queries.get_task, team, task.pk)))

    worker, ended = worker_for(threads, clock, watched)
    await settle(worker)
    half = seen[2]
    assert (half.state, half.done, half.share, half.rate_per_second) == ("running", 3, 0.5, 0.5)
    assert half.eta_seconds == 6
    done = await threads.run(partial(queries.get_task, team, task.pk))
    assert (done.state, done.done, done.result, done.eta_seconds) == ("done", STEPS, {"last": 5}, None)
    lines = await threads.run(partial(queries.lines_of, done))
    assert [line.text for line in lines][:3] == ["Done.", "row 5", "row 4"]
    assert ended == ["done"]
    assert await threads.run(Job.objects.count) == 0


async def test_cancelling_ends_it_before_its_next_step(team, threads, clock):
    task = await threads.run(partial(start, team))

    async def cancelled(context):
        await context.step(partial(_make_row, context.task_id, 0))
        await threads.run(partial(services.cancel, team, task.pk, actor=Actor.system()))
        await context.step(partial(_make_row, context.task_id, 1))

    worker, ended = worker_for(threads, clock, cancelled)
    await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.done) == ("cancelled", 1)
    assert await threads.run(Mail.objects.count) == 1
    assert ended == ["cancelled"]
    with pytest.raises(TaskEnded):
        await threads.run(partial(services.cancel, team, task.pk, actor=Actor.system()))
    audited = await threads.run(lambda: set(AuditEvent.objects.values_list("action", flat=True)))
    assert {"job.started", "job.cancelled"} <= audited


async def test_one_that_waits_is_cancelled_without_a_step(team, threads, clock):
    task = await threads.run(partial(start, team))
    await threads.run(partial(services.cancel, team, task.pk, actor=Actor.system()))
    worker, _ = worker_for(threads, clock, count)
    await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.done) == ("cancelled", 0)


async def test_a_worker_that_lost_its_task_changes_nothing_more(team, threads, clock):
    task = await threads.run(partial(start, team))
    now = clock.now()
    first = await threads.run(partial(services.begin, task.pk, services.timezone.now()))
    second = await threads.run(partial(services.begin, task.pk, services.timezone.now()))
    work = partial(_make_row, task.pk, 0)
    await threads.run(partial(services.step, second, work, services.timezone.now))
    with pytest.raises(TaskTakenOver):
        await threads.run(partial(services.step, first, partial(_make_row, task.pk, 1), services.timezone.now))
    with pytest.raises(TaskTakenOver):
        await threads.run(partial(services.end, first, TaskState.DONE, services.timezone.now()))
    assert await threads.run(Mail.objects.count) == 1
    assert clock.now() == now


async def test_a_step_that_fails_leaves_nothing_behind_and_is_tried_again(team, threads, clock):
    task = await threads.run(partial(start, team))
    failures = [RuntimeError("the text of a customer"), RuntimeError("again")]

    def failing(task_id, number):
        progress = _make_row(task_id, number)
        if number == 2 and failures:
            raise failures.pop()
        return progress

    async def function(context):
        while (number := context.cursor.get("next", 0)) < STEPS:
            await context.step(partial(failing, context.task_id, number))

    worker, ended = worker_for(threads, clock, function)
    for pause in (0, *RETRY_AFTER_SECONDS[:2]):
        clock.move(pause)
        await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.done, ended) == ("done", STEPS, ["done"])
    assert await threads.run(Mail.objects.count) == STEPS
    lines = [line.text for line in await threads.run(partial(queries.lines_of, row))]
    assert lines.count("Failed (RuntimeError); it is tried again.") == 2
    assert not any("customer" in line for line in lines)


async def test_one_that_keeps_failing_has_failed(team, threads, clock):
    task = await threads.run(partial(start, team))

    async def function(_context):
        raise RuntimeError

    worker, ended = worker_for(threads, clock, function)
    for pause in (0, *RETRY_AFTER_SECONDS):
        clock.move(pause)
        await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.error, ended) == ("failed", "RuntimeError", ["failed"])


async def test_what_can_never_work_has_failed_at_once_and_says_why(team, threads, clock):
    task = await threads.run(partial(start, team))

    async def function(_context):
        raise BadRequest("There is no such thing.")

    worker, _ = worker_for(threads, clock, function)
    await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.error) == ("failed", "There is no such thing.")


async def test_a_worker_that_stops_gives_its_task_back_where_it_was(team, threads, clock):
    task = await threads.run(partial(start, team))
    reached, stop = asyncio.Event(), asyncio.Event()

    async def stuck(context):
        await context.step(partial(_make_row, context.task_id, 0))
        reached.set()
        await asyncio.sleep(3600)

    worker, _ = worker_for(threads, clock, stuck, keeps_periodic=False)
    running = asyncio.create_task(worker.run(stop, drain_seconds=0.0))
    await reached.wait()
    stop.set()
    await running
    worker, ended = worker_for(threads, clock, count)
    await settle(worker)
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.done, ended) == ("done", STEPS, ["done"])
    assert await threads.run(Mail.objects.count) == STEPS


async def test_a_task_that_comes_on_outlives_any_number_of_workers(team, threads, clock):
    task = await threads.run(partial(start, team))
    for number in range(MAX_ATTEMPTS + 2):
        [job] = await threads.run(partial(claim_due, [RUN], 1, at(clock.now()), 30.0))
        begun = await threads.run(partial(services.begin, task.pk, services.timezone.now()))
        await threads.run(partial(services.step, begun, partial(_make_row, task.pk, number), services.timezone.now))
        assert job.attempt <= 2
        # Killed: its lease runs out.
        clock.move(31)
    assert await threads.run(Mail.objects.count) == MAX_ATTEMPTS + 2


async def test_a_task_whose_job_was_given_up_has_failed(team, threads):
    task = await threads.run(partial(start, team))
    await threads.run(lambda: Job.objects.update(failed_at=task.created_at))
    assert await threads.run(partial(services.end_lost, task.created_at)) == 1
    row = await threads.run(partial(queries.get_task, team, task.pk))
    assert (row.state, row.error) == ("failed", "The job worker died at every try.")


async def test_lines_are_bounded(team, threads):
    task = await threads.run(partial(start, team))
    begun = await threads.run(partial(services.begin, task.pk, task.created_at))
    for first in range(0, 700, 100):
        said = Progress(lines=[f"line {number}" for number in range(first, first + 100)])
        await threads.run(partial(services.step, begun, lambda said=said: said, services.timezone.now))
    row = await threads.run(Task.objects.get)
    lines = await threads.run(partial(queries.lines_of, row, 1000))
    assert len(lines) == services.LINES_MAX
    assert lines[0].text == "line 699"


async def test_another_teams_task_is_not_there(team, threads):
    task = await threads.run(partial(start, team))
    other = await threads.run(partial(make_team, "Red Foxes"))
    with pytest.raises(TaskNotFound):
        await threads.run(partial(queries.get_task, other, task.pk))
    with pytest.raises(TaskNotFound):
        await threads.run(partial(services.cancel, other, task.pk, actor=Actor.system()))
