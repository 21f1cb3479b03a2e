import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction

from agentcache.jobs import services
from agentcache.jobs.models import Job

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
LEASE = 30.0


@pytest.fixture(autouse=True)
def database(project):
    return project


def enqueue(job_id="a", *, due_at=NOW, **payload):
    services.enqueue(job_id, "greet", payload, due_at)


def claim(now=NOW, limit=10):
    return services.claim_due(["greet"], limit, now, LEASE)


def test_a_job_is_claimed_with_its_payload_when_it_is_due():
    enqueue(due_at=NOW + timedelta(seconds=5), to="you")
    assert claim() == []
    [job] = claim(NOW + timedelta(seconds=5))
    assert (job.id, job.name, job.payload, job.attempt) == ("a", "greet", {"to": "you"}, 1)


def test_the_oldest_due_come_first_and_no_more_than_asked_for():
    enqueue("late", due_at=NOW)
    enqueue("early", due_at=NOW - timedelta(seconds=9))
    enqueue("middle", due_at=NOW - timedelta(seconds=5))
    assert [job.id for job in claim(limit=2)] == ["early", "middle"]


def test_a_worker_does_not_see_jobs_that_it_cannot_do():
    services.enqueue("b", "unknown", {}, NOW)
    assert claim() == []


def test_a_claimed_job_is_nobody_elses_until_its_lease_runs_out():
    enqueue()
    [first] = claim()
    assert claim(NOW + timedelta(seconds=LEASE - 1)) == []
    [second] = claim(NOW + timedelta(seconds=LEASE))
    assert second.attempt == 2
    assert second.claim != first.claim


def test_a_worker_that_lost_its_lease_changes_nothing_any_more():
    enqueue()
    [first] = claim()
    later = NOW + timedelta(seconds=LEASE)
    [second] = claim(later)
    assert not services.renew(first, later, LEASE)
    assert not services.finish(first, later)
    services.fail(first, later, "late")
    services.release(first, later)
    row = Job.objects.get(id="a")
    assert (row.claim, row.attempts, row.last_error) == (second.claim, 2, "")
    assert services.finish(second, later)
    assert not Job.objects.exists()


def test_a_renewed_job_stays_with_its_worker():
    enqueue()
    [job] = claim()
    assert services.renew(job, NOW + timedelta(seconds=20), LEASE)
    assert claim(NOW + timedelta(seconds=LEASE)) == []


def test_a_failed_job_is_tried_again_later_and_later_and_given_up_in_the_end():
    enqueue()
    now = NOW
    pauses = []
    for attempt in range(1, services.MAX_ATTEMPTS + 1):
        [job] = claim(now)
        assert job.attempt == attempt
        due_at = services.fail(job, now, "Refused: 500")
        if due_at is None:
            break
        assert claim(due_at - timedelta(seconds=1)) == []
        pauses.append((due_at - now).total_seconds())
        now = due_at
    assert tuple(pauses) == services.RETRY_AFTER_SECONDS
    row = Job.objects.get(id="a")
    assert row.failed_at == now
    assert row.last_error == "Refused: 500"
    assert claim(now + timedelta(days=365)) == []
    assert services.prune_failed(now) == 0
    assert services.prune_failed(now + timedelta(seconds=1)) == 1


def test_a_job_that_takes_its_worker_down_every_time_is_given_up():
    enqueue("poison")
    enqueue("good")
    now = NOW
    for _ in range(services.MAX_ATTEMPTS):
        jobs = {job.id: job for job in claim(now)}
        assert "poison" in jobs
        if "good" in jobs:
            services.finish(jobs["good"], now)
        now += timedelta(seconds=LEASE)
    assert claim(now) == []
    assert Job.objects.get(id="poison").failed_at == now


def test_a_released_job_is_due_again_and_the_try_does_not_count():
    enqueue()
    [job] = claim()
    services.release(job, NOW)
    [again] = claim()
    assert again.attempt == 1


def test_a_periodic_job_exists_once_and_starts_a_period_after_its_end():
    for _ in range(2):
        services.keep_periodic({"greet": 60.0}, NOW)
    [job] = claim()
    ended = NOW + timedelta(seconds=7)
    assert services.finish(job, ended)
    assert claim(ended + timedelta(seconds=59)) == []
    [again] = claim(ended + timedelta(seconds=60))
    assert again.attempt == 1


def test_a_periodic_job_is_never_given_up():
    services.keep_periodic({"greet": 60.0}, NOW)
    now = NOW
    for _ in range(services.MAX_ATTEMPTS + 2):
        [job] = claim(now)
        due_at = services.fail(job, now, "Refused")
        assert due_at == now + timedelta(seconds=60)
        now = due_at


def test_periods_follow_the_release_and_what_is_no_longer_periodic_goes():
    services.keep_periodic({"greet": 60.0, "gone": 60.0}, NOW)
    services.keep_periodic({"greet": 5.0}, NOW)
    assert [(row.name, row.period_seconds) for row in Job.objects.all()] == [("greet", 5.0)]


def test_a_job_enqueued_in_a_transaction_that_fails_does_not_exist():
    with pytest.raises(KeyError), transaction.atomic():
        enqueue()
        raise KeyError
    assert claim() == []


def test_many_workers_at_once_never_get_the_same_job():
    for number in range(40):
        enqueue(f"job-{number}")
    claimed = []
    begin = threading.Barrier(4)

    def work():
        begin.wait()
        try:
            while jobs := claim(limit=3):
                claimed.extend(job.id for job in jobs)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(f"job-{number}" for number in range(40))
