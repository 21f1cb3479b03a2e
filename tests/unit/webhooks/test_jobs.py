"""Deliveries over real connections, by the worker as it runs."""

import json
import time
from functools import partial

import pytest
from django.db import transaction
from standardwebhooks import Webhook

from agentcache.audit.services import Actor
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.models import Job
from agentcache.jobs.services import RETRY_AFTER_SECONDS
from agentcache.jobs.worker import GiveUp, JobKind, Worker
from agentcache.kit.clock import ManualClock
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.jobs import LIMITS, UNREACHABLE, EndpointDelivery
from agentcache.webhooks.models import Attempt, Delivery, Endpoint
from agentcache.webhooks.services import DELIVER, NewEndpoint
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import sample


@pytest.fixture
def receiver():
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def threads(sqlite_project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def clock():
    return ManualClock(time.time() + 5)


@pytest.fixture
def worker(threads, clock):
    client = GuardedClient(AllowList.parse("127.0.0.1"), LIMITS)
    deliver = EndpointDelivery(threads, current_secrets(), client, clock)
    return Worker(threads, {DELIVER: JobKind(deliver)}, clock=clock, concurrency_of_lane=2)


@pytest.fixture
def secret(team, receiver):
    new = NewEndpoint("https://hooks.example.com/in", ["cache.invalidated"])
    made = services.create_endpoint(current_secrets(), team, new, actor=Actor.system())
    # Loopback is for this test only; no team can give such a URL.
    Endpoint.objects.update(url=receiver.url)
    return made.secret


def emit(team):
    with transaction.atomic():
        return services.emit(team.pk, "cache.invalidated", sample("cache.invalidated"))


async def work(worker):
    while await worker.start_due():
        await worker.settle()


async def test_a_message_arrives_and_another_library_verifies_it(team, receiver, secret, threads, worker):
    message_id = await threads.run(partial(emit, team))
    await work(worker)
    [delivery] = receiver.deliveries
    assert delivery.headers["webhook-id"] == message_id
    assert Webhook(secret).verify(delivery.body, delivery.headers)["data"] == sample("cache.invalidated")
    row = await threads.run(Delivery.objects.get)
    assert (row.state, row.last_status, row.tries) == ("delivered", 200, 1)
    attempt = await threads.run(Attempt.objects.get)
    assert attempt.request_headers["webhook-signature"] == delivery.headers["webhook-signature"]
    assert await threads.run(Job.objects.count) == 0


async def test_what_is_refused_is_tried_on_its_schedule_under_one_id(team, receiver, secret, threads, worker, clock):
    message_id = await threads.run(partial(emit, team))
    receiver.answers = [500, 503]
    for pause in (0, *RETRY_AFTER_SECONDS[:2]):
        clock.move(pause * 1.1)
        await work(worker)
    assert [delivery.headers["webhook-id"] for delivery in receiver.deliveries] == [message_id] * 3
    stamps = [int(delivery.headers["webhook-timestamp"]) for delivery in receiver.deliveries]
    assert stamps[0] < stamps[1] < stamps[2]
    row = await threads.run(Delivery.objects.get)
    assert (row.state, row.tries) == ("delivered", 3)


@pytest.mark.parametrize(("value", "seconds"), [("90", 90), ("Wed, 21 Oct 2065 07:28:00 GMT", 3600), ("soon", 60)])
async def test_retry_after_is_read_in_both_forms(value, seconds, team, receiver, secret, threads, worker, clock):
    await threads.run(partial(emit, team))
    receiver.answers, receiver.headers = [429], {"retry-after": value}
    await work(worker)
    endpoint = await threads.run(Endpoint.objects.get)
    assert (endpoint.paused_until.timestamp() - clock.now()) == pytest.approx(seconds, abs=1)


async def test_an_address_that_is_not_reached_says_one_sentence(team, receiver, secret, threads, worker):
    await threads.run(lambda: Endpoint.objects.update(url="http://127.0.0.1:9/hook"))
    await threads.run(partial(emit, team))
    await work(worker)
    attempt = await threads.run(Attempt.objects.get)
    assert (attempt.status, attempt.failure) == (None, UNREACHABLE)


async def test_the_job_of_a_deleted_endpoint_does_nothing(team, receiver, secret, threads, worker):
    await threads.run(partial(emit, team))
    endpoint = await threads.run(Endpoint.objects.get)
    await threads.run(partial(services.delete_endpoint, team, endpoint.pk, actor=Actor.system()))
    await work(worker)
    assert receiver.deliveries == []
    assert await threads.run(Job.objects.count) == 0


async def test_a_job_without_members_is_given_up(threads, clock):
    deliver = EndpointDelivery(threads, current_secrets(), GuardedClient(), clock)
    with pytest.raises(GiveUp):
        await deliver({"delivery_id": "x"})


async def test_a_body_is_compact_utf_8(team, receiver, secret, threads, worker):
    with_text = {**sample("cache.invalidated"), "reason": "naïve 🙂"}
    await threads.run(partial(_emit_data, team, with_text))
    await work(worker)
    [delivery] = receiver.deliveries
    assert json.dumps("naïve 🙂", ensure_ascii=False).encode() in delivery.body
    assert b": " not in delivery.body.replace(b"New price", b"")


def _emit_data(team, data):
    with transaction.atomic():
        return services.emit(team.pk, "cache.invalidated", data)
