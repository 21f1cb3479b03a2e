"""A job worker is killed at any moment: every job is done, none is forgotten."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentcache.jobs import services
from agentcache.jobs.models import Job

JOBS = 12
ROOT = Path(__file__).parents[3]


@pytest.fixture
def start_worker(project, tmp_path):
    started = []

    def start(seconds_per_job):
        command = [
            sys.executable,
            "-m",
            "tests.support.job_worker_program",
            str(project.data_dir),
            str(tmp_path / "log"),
        ]
        command += [str(seconds_per_job), "1.0"]
        if project.database_url:
            command.append(project.database_url)
        worker = subprocess.Popen(command, cwd=ROOT)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.touch()
    return lambda: path.read_text().splitlines()


def enqueue_all():
    for number in range(JOBS):
        services.enqueue(f"job-{number}", "work", {"number": number}, services.at(time.time()))


def wait_until(is_so):
    while not is_so():
        time.sleep(0.02)


def test_jobs_of_a_killed_worker_are_done_by_the_next(project, start_worker, log):
    enqueue_all()
    victim = start_worker(seconds_per_job=30)
    wait_until(lambda: len(log()) == 2)
    victim.kill()
    victim.wait()
    assert Job.objects.count() == JOBS
    start_worker(seconds_per_job=0)
    wait_until(lambda: not Job.objects.exists())
    ended = [line for line in log() if line.startswith("end")]
    assert sorted(ended) == sorted(f"end {number}" for number in range(JOBS))


def test_a_worker_that_is_told_to_stop_gives_its_jobs_back_at_once(project, start_worker, log):
    enqueue_all()
    worker = start_worker(seconds_per_job=30)
    wait_until(lambda: len(log()) == 2)
    worker.terminate()
    assert worker.wait() == 0
    due = Job.objects.filter(due_at__lte=services.at(time.time()), claim="", attempts=0)
    assert due.count() == JOBS
