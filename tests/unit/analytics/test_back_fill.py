import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from django.apps import apps
from django.db import connection

from agentcache.analytics import back_fill, services
from agentcache.analytics.jobs import fill_rollups
from agentcache.analytics.migrations import __name__ as migrations
from agentcache.analytics.models import UsageCell, UsageEvent, UsageLatency, UsageTotal
from agentcache.analytics.rollup_tables import new_seen
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.models import Job
from agentcache.kit.clock import ManualClock
from tests.support.teams import make_team
from tests.support.usage import usage_event

ROOT = Path(__file__).parents[3]
NOW = datetime(2027, 1, 15, 12, 30, tzinfo=UTC)
CLOCK = ManualClock(NOW.timestamp())
ROLLUPS = (UsageTotal, UsageCell, UsageLatency)


@pytest.fixture
def teams(project):
    return [make_team("Blue Whales"), make_team("Red Foxes")]


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


def various(teams, number, days=0.6, seed=1):
    chance = random.Random(seed)
    return [
        usage_event(
            chance.choice(teams), at=NOW - timedelta(seconds=chance.randrange(int(days * 86400))),
            outcome=chance.choice(["exact", "semantic", "stale", "coalesced", "miss", "bypass", "error"]),
            model=chance.choice(["gpt-5", "claude"]), agent=chance.choice(["", "nightly"]),
            status=chance.choice([200, 200, 429]), latency_us=chance.randrange(300, 5_000_000),
            input_tokens=chance.randrange(1000), cost_usd_nanos=chance.randrange(10**9),
            upstream_us=chance.choice([0, 900_000]), requests=chance.choice([1, 1, 1, 7]),
        )
        for _ in range(number)
    ]  # fmt: skip


def sums():
    """Return every roll-up there is."""
    return [sorted(tuple(row.values()) for row in model.objects.values()) for model in ROLLUPS]


def forget_sums(teams=None):
    for model in ROLLUPS:
        rows = model.objects.all() if teams is None else model.objects.filter(team_id__in=[team.pk for team in teams])
        rows.delete()


async def test_events_from_before_the_roll_ups_are_brought_in_and_only_once(teams, threads):
    def arrange():
        services.record_events(various(teams, 500))
        whole = sums()
        forget_sums()
        return whole

    whole = await threads.run(arrange)
    assert await fill_rollups(threads, CLOCK) > 20
    assert await threads.run(sums) == whole
    assert await fill_rollups(threads, CLOCK) == 0
    assert await threads.run(sums) == whole


async def test_hours_that_hold_some_of_their_events_are_completed(teams, threads):
    def arrange():
        # The release that brought the roll-ups was installed in the middle of a day, and an hour.
        events = various(teams, 400)
        half = NOW - timedelta(hours=7, minutes=17)
        services.record_events([one for one in events if one.at_ms < half.timestamp() * 1000])
        forget_sums()
        services.record_events([one for one in events if one.at_ms >= half.timestamp() * 1000])
        services.record_events([usage_event(teams[0], at=half - timedelta(minutes=5), latency_us=700)])  # came late
        partly = sums()
        forget_sums()
        rows = list(UsageEvent.objects.values_list("pk", flat=True))
        UsageEvent.objects.all().delete()
        services.record_events([*events, usage_event(teams[0], at=half - timedelta(minutes=5), latency_us=700)])
        whole = sums()
        forget_sums()
        assert len(rows) == UsageEvent.objects.count()
        for model, found in zip(ROLLUPS, partly, strict=True):
            names = [field.attname for field in model._meta.concrete_fields]
            model.objects.bulk_create(model(**dict(zip(names, row, strict=True))) for row in found)
        assert sums() == partly != whole
        return whole

    whole = await threads.run(arrange)
    assert await fill_rollups(threads, CLOCK) > 10
    assert await threads.run(sums) == whole


async def test_sums_of_pruned_events_are_left_alone(teams, threads):
    def arrange():
        services.record_events(various(teams, 300))
        UsageEvent.objects.filter(pk__in=list(UsageEvent.objects.values_list("pk", flat=True)[:150])).delete()
        return sums()

    before = await threads.run(arrange)
    assert await fill_rollups(threads, CLOCK) == 0
    assert await threads.run(sums) == before


def test_a_failure_in_the_middle_of_an_hour_changes_nothing(teams, monkeypatch):
    services.record_events(various(teams, 200))
    forget_sums([teams[0]])
    before = sums()
    [first, *_] = [
        hour
        for day in back_fill.days_of(teams[0].pk)
        for hour in back_fill.lacking_hours(teams[0].pk, day, NOW.timestamp())
    ]

    def fail(*_):
        raise RuntimeError("midway")

    monkeypatch.setattr(back_fill, "fold", fail)
    with pytest.raises(RuntimeError):
        back_fill.sum_up(first, NOW.timestamp(), new_seen())
    assert sums() == before
    monkeypatch.undo()
    assert back_fill.sum_up(first, NOW.timestamp(), new_seen())
    assert not back_fill.sum_up(first, NOW.timestamp(), new_seen())


@pytest.mark.parametrize("has_events", [True, False], ids=["with events", "empty"])
def test_the_migration_enqueues_the_job_once_and_only_where_there_is_something_to_do(teams, has_events):
    if has_events:
        services.record_events(various(teams, 3))
    migration = __import__(f"{migrations}.0005_enqueue_back_fill", fromlist=["enqueue"])
    for _ in range(2):
        migration.enqueue(apps, None)
    assert list(Job.objects.values_list("name", flat=True)) == ([services.BACK_FILL] if has_events else [])


def test_it_can_be_asked_for_again_and_waits_once(teams):
    assert services.enqueue_back_fill()
    assert not services.enqueue_back_fill()
    assert Job.objects.get().name == services.BACK_FILL


@pytest.fixture
def start(project):
    environ = {**os.environ, "AGENTCACHE_DATA_DIR": str(project.data_dir), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    if project.database_url:
        environ["AGENTCACHE_DATABASE_URL"] = project.database_url
    started = []

    def start(*arguments, stdin=b""):
        program = [sys.executable, "-m", "tests.support.usage_program", *map(str, arguments)]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=ROOT)
        process.stdin.write(stdin)
        process.stdin.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_back_fills_killed_at_any_moment_and_two_at_once_count_each_event_once(teams, start):
    services.record_events(various(teams, 500, days=1.2))
    whole = sums_but_five_minutes()
    forget_sums()
    connection.close()
    chance, killed = random.Random(5), 0
    for _ in range(2):
        victim, other = start("fill", NOW.timestamp()), start("fill", NOW.timestamp())
        for process in (victim, other):
            assert process.stdout.readline() == b"begin\n"
        time.sleep(chance.uniform(0.02, 0.25))
        for process in (victim, other):
            process.kill()
            killed += process.wait() == -9
        assert requests_by_day() <= requests_kept()
    assert killed > 0
    last = [start("fill", NOW.timestamp()) for _ in range(2)]
    # While two sum up the past, a third records what comes in.
    fresh = various(teams, 100, days=1.2, seed=9)
    writing = start("record", 1, stdin=msgspec.msgpack.encode(fresh))
    for process in (*last, writing):
        process.stdout.read()
        assert process.wait() == 0
    # An hour that took in fresh events before it was summed up was found lacking, or was whole.
    assert start("fill", NOW.timestamp()).wait() == 0
    assert UsageEvent.objects.count() == 600
    assert requests_by_day() == requests_kept()
    UsageEvent.objects.filter(pk__in=[one.id for one in fresh]).delete()
    assert sums_but_five_minutes() != whole


def test_two_workers_that_record_the_same_events_count_each_once(teams, start):
    events = various(teams, 500)
    body = msgspec.msgpack.encode(events)
    connection.close()
    victim = start("record", 3, stdin=body)
    assert victim.stdout.readline() == b"begin\n"
    time.sleep(0.15)
    victim.kill()
    victim.wait()
    both = [start("record", seed, stdin=body) for seed in (1, 2)]
    for process in both:
        process.stdout.read()
        assert process.wait() == 0
    assert UsageEvent.objects.count() == 500
    assert requests_by_day() == requests_kept()
    found = sums()
    UsageEvent.objects.all().delete()
    forget_sums()
    services.record_events(events)
    assert found == sums()


def requests_by_day():
    return sum(row.requests for row in UsageTotal.objects.filter(dimension="", grain=86400))


def requests_kept():
    return sum(UsageEvent.objects.values_list("requests", flat=True))


def sums_but_five_minutes():
    return [[row for row in rows if 300 not in row[:6]] for rows in sums()]
