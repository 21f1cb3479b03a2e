"""The job worker is killed with SIGKILL in the middle of a batch: no request is lost, and what was paid is not paid again."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agentcache.jobs.models import Job
from agentcache.prewarm.models import Batch, BatchRequest
from tests.support.prewarming import keep_credential, start
from tests.support.prewarming_requests import chat

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

ROOT = Path(__file__).parents[3]
REQUESTS, KILLS, CONCURRENCY = 60, 3, 2


@pytest.fixture
def start_worker(settings, provider):
    started = []

    def start():
        command = [sys.executable, "-m", "tests.support.prewarm_worker_program", str(settings.data_dir), "0.6"]
        command += [f"{provider.url}/openai", *([settings.database_url] if settings.database_url else [])]
        worker = subprocess.Popen(command, cwd=ROOT)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()


def asked(provider):
    return Counter(call.body for call in provider.calls if call.method == "POST")


def wait_until(is_so, worker):
    while not is_so():
        assert worker.poll() is None, "the worker ended by itself"
        time.sleep(0.03)


def test_no_request_is_lost_and_only_those_under_way_are_made_again(settings, team, provider, start_worker):
    keep_credential(settings, team)
    batch = start(
        settings,
        team,
        [chat(f"number {number}") for number in range(REQUESTS)],
        concurrency=CONCURRENCY,
        cost_cap_usd="10",
    )
    provider.script(times=None, delay=0.02)
    for number in range(1, KILLS + 1):
        worker = start_worker()
        due = REQUESTS * number // (KILLS + 1)
        wait_until(lambda due=due: sum(asked(provider).values()) >= due, worker)
        worker.kill()
        worker.wait()
    worker = start_worker()
    wait_until(lambda: not Job.objects.exists(), worker)
    calls = asked(provider)
    batch = Batch.objects.get()
    assert batch.state == "done"
    assert len(calls) == REQUESTS
    repeated = sum(calls.values()) - REQUESTS
    assert repeated <= KILLS * CONCURRENCY
    assert (batch.failed, batch.warmed + batch.skipped) == (0, REQUESTS)
    assert not BatchRequest.objects.exclude(state__in=("warmed", "skipped")).exists()
    # What was under way when a worker died counts against the cap, whether it was billed or not.
    price = batch.cost_usd_nanos // batch.warmed
    assert batch.cost_usd_nanos + batch.unsure_usd_nanos >= price * sum(calls.values())
