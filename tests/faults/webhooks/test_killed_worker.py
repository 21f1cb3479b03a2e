"""The job worker is killed with SIGKILL while it delivers and while it does a task (W3)."""

import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.jobs.models import Job
from agentcache.tasks.models import Task
from agentcache.webhooks import services
from agentcache.webhooks.models import Delivery, DeliveryState, Endpoint
from agentcache.webhooks.services import Range
from tests.support.reliability import record
from tests.support.tiers import count
from tests.support.webhooks import make_endpoint, sample

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(count(360, 3600))

ROOT = Path(__file__).parents[3]
#: Each event goes to three endpoints: ten thousand deliveries before a release.
EVENTS, KILLS = count(100, 3_400), count(2, 100)
REDELIVERED = 250
#: Long enough for a busy machine: a lease that ends while its worker lives is a repetition, too.
LEASE_SECONDS = 3.0


@pytest.fixture
def project(request):
    return request.getfixturevalue(f"{request.param}_project")


@pytest.fixture
def start_worker(project):
    started = []

    def start(step_seconds=0.0):
        command = [sys.executable, "-m", "tests.support.webhook_worker_program", str(project.data_dir)]
        command += [str(LEASE_SECONDS), str(step_seconds), *([project.database_url] if project.database_url else [])]
        worker = subprocess.Popen(command, cwd=ROOT)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        kill(worker)


def kill(worker):
    worker.kill()
    worker.wait()


def wait_until(is_so, worker):
    while not is_so():
        assert worker.poll() is None, "the worker ended by itself"
        time.sleep(0.03)


class RolledBack(Exception):
    pass


def emit(team, *, is_rolled_back=False):
    try:
        with transaction.atomic():
            services.emit(team.pk, "cache.invalidated", sample("cache.invalidated"))
            if is_rolled_back:
                raise RolledBack
    except RolledBack:
        return


# Leases are killed on both databases in test_killed_workers.py; here one of each has to do.
@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_w3_every_event_arrives_under_one_id_however_often_the_worker_dies(team, receiver, start_worker):
    endpoints = [make_endpoint(team) for _ in range(3)]
    Endpoint.objects.update(url=receiver.url)
    for number in range(EVENTS):
        emit(team, is_rolled_back=number % 10 == 9)
    due = {(row.message_id, row.endpoint_id) for row in Delivery.objects.all()}
    assert len(due) == len(endpoints) * EVENTS * 9 // 10
    for number in range(1, KILLS + 1):
        worker = start_worker()
        threshold = number * len(due) // (KILLS + 1)
        wait_until(lambda threshold=threshold: len(receiver.deliveries) >= threshold, worker)
        kill(worker)
    worker = start_worker()
    wait_until(lambda: not Delivery.objects.exclude(state=DeliveryState.DELIVERED).exists(), worker)
    wait_until(lambda: not Job.objects.filter(name=services.DELIVER).exists(), worker)
    arrived = Counter(delivery.headers["webhook-id"] for delivery in receiver.deliveries)
    lost = [message_id for message_id, _ in due if arrived[message_id] < len(endpoints)]
    assert lost == []
    assert set(arrived) == {message_id for message_id, _ in due}
    twice = len(receiver.deliveries) - len(due)
    # Only what a killed worker had in hand: two of each endpoint.
    assert 0 <= twice <= KILLS * len(endpoints) * 2
    share = round(100 * twice / len(due), 1)
    record("W3", events=len(due), kills=KILLS, lost=0, without_cause=0, arrived_again_percent=share)


@pytest.mark.parametrize("project", ["postgresql"], indirect=True)
def test_a_killed_task_goes_on_and_does_nothing_twice(team, receiver, start_worker):
    endpoint = make_endpoint(team, event_types=["cache.invalidated"])
    Endpoint.objects.update(url=receiver.url)
    for _ in range(REDELIVERED):
        emit(team)
    Job.objects.all().delete()
    Delivery.objects.update(state=DeliveryState.FAILED, ended_at=timezone.now())
    day = timedelta(days=1)
    wanted = Range(endpoint.pk, timezone.now() - day, timezone.now() + day)
    task = services.start_redelivery(team, wanted, actor=Actor.system())
    assert task.total == REDELIVERED
    victim = start_worker(step_seconds=0.3)
    wait_until(lambda: 0 < Task.objects.get(pk=task.pk).done < REDELIVERED - 50, victim)
    kill(victim)
    left = Task.objects.get(pk=task.pk)
    assert left.state == "running"
    assert 0 < left.done < REDELIVERED
    # What was done and what is noted are the same: they are one transaction.
    assert Delivery.objects.filter(redeliveries=1).count() == left.done
    worker = start_worker()
    wait_until(lambda: Task.objects.get(pk=task.pk).is_ended, worker)
    ended = Task.objects.get(pk=task.pk)
    assert (ended.state, ended.done) == ("done", REDELIVERED)
    assert set(Delivery.objects.values_list("redeliveries", flat=True)) == {1}
    assert ended.lines.filter(text="Went on after an interruption.").exists()
    record("W3 task", units=REDELIVERED, done_before_the_kill=left.done, lost=0, done_twice=0)
