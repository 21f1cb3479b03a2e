import json
import time
from functools import partial

import pytest
from standardwebhooks import Webhook

from agentcache.audit.services import Actor
from agentcache.gateway.ports import DELIVER_WEBHOOK
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.models import Job
from agentcache.jobs.queue import DatabaseJobQueue
from agentcache.jobs.services import RETRY_AFTER_SECONDS
from agentcache.jobs.worker import GiveUp, JobKind, Worker
from agentcache.kit.clock import ManualClock
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.kit.webhook_signing import shown_secret, sign
from agentcache.teams import services
from agentcache.teams.jobs import WebhookDelivery, WebhookRefused
from agentcache.teams.secrets import ServerSecrets
from tests.support.webhook_receiver import WebhookReceiver

BODY = json.dumps({"id": "p1", "status": "succeeded", "output": ["naïve 🙂"]}, ensure_ascii=False)


@pytest.fixture
def receiver():
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def secrets(sqlite_project):
    return ServerSecrets.of(sqlite_project)


@pytest.fixture
def team(secrets):
    return services.create_team(secrets, "Blue Whales")


@pytest.fixture
def threads(sqlite_project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def clock():
    return ManualClock(time.time())


@pytest.fixture
def deliver(threads, secrets, clock):
    return WebhookDelivery(threads, secrets, GuardedClient(AllowList.parse("127.0.0.1")), clock)


def payload(team, receiver, **members):
    return {"tenant_id": team.id, "url": receiver.url, "body": BODY, "message_id": "p1.completed", **members}


async def test_a_webhook_arrives_as_it_is_and_its_signature_verifies(deliver, secrets, team, receiver):
    await deliver(payload(team, receiver))
    [delivery] = receiver.deliveries
    assert delivery.path == "/hook"
    assert delivery.body == BODY.encode()
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["webhook-id"] == "p1.completed"
    key = shown_secret(secrets.webhook_signing_key(team.id, bytes(team.wrapped_data_key)))
    assert Webhook(key).verify(delivery.body, delivery.headers) == json.loads(BODY)


async def test_a_replaced_key_signs_along_for_a_day(deliver, secrets, team, receiver, threads, clock):
    wrapped = bytes(team.wrapped_data_key)
    former, present = (shown_secret(secrets.webhook_signing_key(team.id, wrapped, number)) for number in (0, 1))
    await threads.run(partial(services.replace_webhook_key, team, actor=Actor.system()))
    await deliver(payload(team, receiver))
    for key in (former, present):
        assert Webhook(key).verify(receiver.deliveries[0].body, receiver.deliveries[0].headers)
    clock.move(24 * 3600 + 60)
    await deliver(payload(team, receiver))
    assert receiver.deliveries[1].headers["webhook-signature"].count("v1,") == 1
    signed = receiver.deliveries[1].headers
    expected = sign(secrets.webhook_signing_key(team.id, wrapped, 1), "p1.completed", signed["webhook-timestamp"], BODY)
    assert signed["webhook-signature"] == expected


def test_each_team_signs_with_a_key_of_its_own(secrets, team):
    other = services.create_team(secrets, "Red Foxes")
    keys = [secrets.webhook_signing_key(one.id, bytes(one.wrapped_data_key)) for one in (team, other, team)]
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_anything_but_success_is_tried_again(deliver, team, receiver, status):
    receiver.answers = [status]
    with pytest.raises(WebhookRefused, match=str(status)):
        await deliver(payload(team, receiver))
    assert len(receiver.deliveries) == 1


async def test_a_receiver_that_is_gone_for_good_is_left_alone(deliver, team, receiver):
    receiver.answers = [410]
    with pytest.raises(GiveUp):
        await deliver(payload(team, receiver))


async def test_a_receiver_that_is_down_is_tried_again(deliver, team, receiver):
    with pytest.raises(WebhookRefused):
        await deliver(payload(team, receiver, url="http://127.0.0.1:9/hook"))


async def test_an_internal_address_is_not_reached_without_the_operators_leave(threads, secrets, clock, team, receiver):
    guarded = WebhookDelivery(threads, secrets, GuardedClient(), clock)
    with pytest.raises(WebhookRefused):
        await guarded(payload(team, receiver))
    assert receiver.deliveries == []


@pytest.mark.parametrize(
    "members",
    [{"url": "ftp://example.com/"}, {"url": "no url"}, {"tenant_id": "nobody"}, {"body": None}, {"message_id": 7}],
    ids=lambda members: next(iter(members)),
)
async def test_a_job_that_can_never_be_done_is_given_up(deliver, team, receiver, members):
    with pytest.raises(GiveUp):
        await deliver(payload(team, receiver, **members))
    assert receiver.deliveries == []


async def test_a_queued_webhook_survives_refusals_with_one_id_and_a_fresh_timestamp(
    deliver, threads, clock, team, receiver
):
    receiver.answers = [500, 503]
    queue = DatabaseJobQueue(threads, clock)
    await queue.enqueue(DELIVER_WEBHOOK, payload(team, receiver))
    worker = Worker(threads, {DELIVER_WEBHOOK: JobKind(deliver)}, clock=clock)
    for pause in (0, *RETRY_AFTER_SECONDS[:2]):
        clock.move(pause * 1.1)
        assert await worker.start_due() == 1
        await worker.settle()
    assert [delivery.headers["webhook-id"] for delivery in receiver.deliveries] == ["p1.completed"] * 3
    stamps = [int(delivery.headers["webhook-timestamp"]) for delivery in receiver.deliveries]
    assert stamps[0] < stamps[1] < stamps[2]
    assert await threads.run(Job.objects.count) == 0
