import json
import random
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.jobs.models import Job
from agentcache.jobs.services import RETRY_AFTER_SECONDS
from agentcache.quotas.models import TeamPlan
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.models import Attempt, Delivery
from agentcache.webhooks.services import TRIES, EndpointEdits, TryOutcome
from tests.support.reliability import record
from tests.support.teams import join, mails_of
from tests.support.webhooks import sample

REFUSED = TryOutcome(duration_ms=3, status=500, response=b"try later")
ACCEPTED = TryOutcome(duration_ms=3, status=204)


@pytest.fixture
def admin(team):
    join(team, "admin@example.com", "admin")
    join(team, "member@example.com", "member")


def emitted(team, event_type="cache.invalidated"):
    with transaction.atomic():
        message_id = services.emit(team.pk, event_type, sample(event_type))
    return Delivery.objects.get(message_id=message_id)


def try_once(delivery, outcome, now, jitter=0.0):
    delivery.refresh_from_db()
    return services.record_try(delivery.pk, delivery.redeliveries, outcome, now, jitter)


def test_what_a_try_sends_is_what_was_written_down(team, endpoint):
    delivery = emitted(team)
    prepared = services.prepare_try(current_secrets(), delivery.pk, 0, timezone.now())
    assert (prepared.url, prepared.message_id) == (endpoint.url, delivery.message_id)
    assert json.loads(prepared.body)["data"] == sample("cache.invalidated")
    assert len(prepared.secrets) == 1
    assert len(prepared.secrets[0]) == 32
    assert repr(prepared.secrets[0]) not in repr(prepared)


def test_an_accepted_message_is_delivered_and_not_sent_again(team, endpoint):
    delivery = emitted(team)
    assert try_once(delivery, ACCEPTED, timezone.now()) is None
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.tries) == ("delivered", 204, 1)
    assert services.prepare_try(current_secrets(), delivery.pk, 0, timezone.now()) is None


def test_what_came_back_is_kept_as_text_and_cut(team, endpoint):
    delivery = emitted(team)
    try_once(delivery, TryOutcome(duration_ms=7, status=400, response=b"\x00\xff<b>" + b"x" * 9000), timezone.now())
    [attempt] = Attempt.objects.filter(delivery=delivery)
    assert (attempt.status, attempt.duration_ms, len(attempt.response)) == (400, 7, 1024)
    assert attempt.response.startswith("��<b>xxx")


def test_500_for_four_days_is_ten_tries_over_75_hours_then_the_owner_is_told_and_the_endpoint_is_off(
    team, endpoint, admin
):
    delivery = emitted(team)
    first = now = timezone.now()
    chance = random.Random(4)
    jitters, pauses = [], []
    for _ in range(TRIES):
        jitter = chance.uniform(0, 0.1)
        pause = try_once(delivery, REFUSED, now, jitter)
        if pause is not None:
            jitters.append(jitter)
            pauses.append(pause)
            now += timedelta(seconds=pause)
    delivery.refresh_from_db()
    endpoint.refresh_from_db()
    assert (delivery.state, delivery.ended_because, delivery.tries) == ("failed", "tries", TRIES)
    for pause, scheduled in zip(pauses, RETRY_AFTER_SECONDS, strict=True):
        assert scheduled <= pause <= scheduled * 1.1
    hours = (now - first).total_seconds() / 3600
    assert 75 <= hours <= 84
    assert (endpoint.is_enabled, endpoint.disabled_because) == (False, "failures")
    assert [mail.to for mail in mails_of("webhook-failing")] == ["admin@example.com"]
    assert [mail.to for mail in mails_of("webhook-off")] == ["admin@example.com"]
    assert AuditEvent.objects.filter(action="webhook_endpoint.switched_off", team_id=team.pk).exists()
    assert try_once(delivery, REFUSED, now) is None
    record("W4 500", tries=TRIES, hours=round(hours, 1), mails_before=1, switched_off=1, beyond_jitter=0)


def test_a_busy_endpoint_is_warned_of_three_times_and_off_after_twenty_failures_and_a_day(team, endpoint, admin):
    begin = timezone.now()
    for hour in range(30):
        delivery = emitted(team)
        try_once(delivery, REFUSED, begin + timedelta(hours=hour))
        endpoint.refresh_from_db()
        if not endpoint.is_enabled:
            break
    assert (hour, endpoint.failures_in_row) == (24, 25)
    assert len(mails_of("webhook-failing")) == 3
    assert len(mails_of("webhook-off")) == 1
    assert not Delivery.objects.filter(state="waiting").exists()
    assert Delivery.objects.filter(ended_because="off").count() == 25


def test_a_restart_of_a_minute_costs_no_endpoint(team, endpoint, admin):
    now = timezone.now()
    for second in range(60):
        try_once(emitted(team), REFUSED, now + timedelta(seconds=second))
    endpoint.refresh_from_db()
    assert endpoint.is_enabled
    assert not mails_of("webhook-failing")
    try_once(Delivery.objects.first(), ACCEPTED, now + timedelta(minutes=2))
    endpoint.refresh_from_db()
    assert (endpoint.failures_in_row, endpoint.failing_since) == (0, None)


def test_410_switches_the_endpoint_off_at_once_and_tells_why(team, endpoint, admin):
    waiting, delivery = emitted(team), emitted(team)
    assert try_once(delivery, TryOutcome(1, 410), timezone.now()) is None
    endpoint.refresh_from_db()
    waiting.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.disabled_because) == (False, "gone")
    assert (waiting.state, waiting.ended_because) == ("failed", "off")
    assert len(mails_of("webhook-off")) == 1
    with transaction.atomic():
        assert services.emit(team.pk, "cache.invalidated", sample("cache.invalidated")) is None
    record("W4 410", tries=1, switched_off=1, sent_afterwards=0)


@pytest.mark.parametrize(
    ("status", "asked", "seconds"),
    [(429, 120.0, 120), (429, None, 5), (503, 30.0, 30), (503, None, 5), (502, 1e9, 3600), (500, 120.0, 5)],
)
def test_an_answer_that_asks_for_time_gets_it(status, asked, seconds, team, endpoint):
    pause = try_once(emitted(team), TryOutcome(1, status, retry_after_seconds=asked), timezone.now())
    assert pause == seconds


def test_a_throttling_answer_holds_everything_for_that_endpoint(team, endpoint):
    now = timezone.now()
    slow, waiting = emitted(team), emitted(team)
    try_once(slow, TryOutcome(1, 429, retry_after_seconds=300.0), now)
    prepared = services.prepare_try(current_secrets(), waiting.pk, 0, now + timedelta(seconds=100))
    assert prepared.wait_seconds == 200
    assert services.prepare_try(current_secrets(), waiting.pk, 0, now + timedelta(seconds=301)).wait_seconds == 0
    record("W4 429", asked_seconds=300, sent_before=0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure(status, team, endpoint):
    delivery = emitted(team)
    assert try_once(delivery, TryOutcome(1, status), timezone.now()) == RETRY_AFTER_SECONDS[0]


def test_two_secrets_sign_for_a_day_and_a_third_rotation_ends_none_of_them_early(team, endpoint):
    secrets, actor, now = current_secrets(), Actor.system(), timezone.now()
    rotated = services.rotate_secret(secrets, team, endpoint.pk, actor=actor)
    assert rotated.secret.startswith("whsec_")
    assert len(services.open_secrets(secrets, team, endpoint, now)) == 2
    services.rotate_secret(secrets, team, endpoint.pk, actor=actor)
    opened = services.open_secrets(secrets, team, endpoint, now)
    assert len(set(opened)) == 3
    assert services.open_secrets(secrets, team, endpoint, now + timedelta(hours=25)) == opened[:1]
    assert services.rotate_secret(secrets, team, endpoint.pk, overlap=timedelta(), actor=actor)
    assert len(services.open_secrets(secrets, team, endpoint, timezone.now())) == 1


def test_secrets_that_sign_stay_few_however_often_one_rotates(team, endpoint):
    for _ in range(7):
        services.rotate_secret(current_secrets(), team, endpoint.pk, actor=Actor.system())
    assert len(services.open_secrets(current_secrets(), team, endpoint, timezone.now())) == 4


def test_sending_again_keeps_the_id_and_begins_the_tries_anew(team, endpoint):
    delivery = emitted(team)
    try_once(delivery, ACCEPTED, timezone.now())
    again = services.redeliver(team, delivery.pk, actor=Actor.system())
    assert (again.message_id, again.state, again.tries, again.redeliveries) == (delivery.message_id, "waiting", 0, 1)
    assert Job.objects.filter(pk=again.job_id).exists()
    # The job of the first round does nothing any more.
    assert services.prepare_try(current_secrets(), delivery.pk, 0, timezone.now()) is None
    assert services.prepare_try(current_secrets(), delivery.pk, 1, timezone.now()) is not None


def test_one_that_waits_is_tried_now(team, endpoint):
    delivery = emitted(team)
    Job.objects.filter(pk=delivery.job_id).update(due_at=timezone.now() + timedelta(hours=5))
    again = services.redeliver(team, delivery.pk, actor=Actor.system())
    assert again.redeliveries == 0
    assert Job.objects.get(pk=delivery.job_id).due_at <= timezone.now()


def test_a_test_is_sent_once_and_costs_no_endpoint(team, endpoint, admin):
    delivery = services.send_test(team, endpoint.pk, "listener.changed", actor=Actor.system())
    assert delivery.message.is_test
    assert json.loads(delivery.message.body)["data"] == sample("listener.changed")
    assert try_once(delivery, REFUSED, timezone.now()) is None
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.failures_in_row) == (True, 0)


def test_switching_off_gives_up_what_waits_and_on_again_forgets_failures(team, endpoint):
    delivery = emitted(team)
    try_once(delivery, REFUSED, timezone.now())
    services.change_endpoint(team, endpoint.pk, EndpointEdits(is_enabled=False), actor=Actor.system())
    delivery.refresh_from_db()
    assert (delivery.state, delivery.ended_because) == ("failed", "off")
    row = services.change_endpoint(team, endpoint.pk, EndpointEdits(is_enabled=True), actor=Actor.system())
    assert (row.is_enabled, row.failures_in_row, row.disabled_because) == (True, 0, "")
    assert services.redeliver(team, delivery.pk, actor=Actor.system()).state == "waiting"


@pytest.mark.parametrize(("plan", "kept_days"), [("free", 30), ("pro", 90), ("self_hosted", 90)])
def test_old_messages_go_and_those_that_wait_stay(team, endpoint, plan, kept_days):
    TeamPlan.objects.create(team=team, plan=plan)
    old, waiting, young = emitted(team), emitted(team), emitted(team)
    for row, days in ((old, kept_days + 1), (waiting, kept_days + 1), (young, kept_days - 1)):
        type(row.message).objects.filter(pk=row.message_id).update(created_at=timezone.now() - timedelta(days=days))
    for row in (old, young):
        try_once(row, ACCEPTED, timezone.now())
    assert services.prune(timezone.now()) == 1
    assert set(Delivery.objects.values_list("pk", flat=True)) == {waiting.pk, young.pk}


def test_a_delivery_whose_job_was_given_up_does_not_wait_for_ever(team, endpoint):
    lost, alive = emitted(team), emitted(team)
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=1))
    Job.objects.filter(pk=lost.job_id).update(failed_at=timezone.now())
    assert services.end_lost(timezone.now()) == 1
    lost.refresh_from_db()
    alive.refresh_from_db()
    assert (lost.state, lost.ended_because, alive.state) == ("failed", "lost", "waiting")


def test_foreign_endpoints_and_deliveries_are_not_there(team, endpoint):
    from agentcache.webhooks.errors import DeliveryNotFound, EndpointNotFound
    from tests.support.teams import make_team

    delivery, other = emitted(team), make_team("Red Foxes")
    actor = Actor.system()
    for refused, error in [
        (lambda: services.change_endpoint(other, endpoint.pk, EndpointEdits(), actor=actor), EndpointNotFound),
        (lambda: services.delete_endpoint(other, endpoint.pk, actor=actor), EndpointNotFound),
        (lambda: services.rotate_secret(current_secrets(), other, endpoint.pk, actor=actor), EndpointNotFound),
        (lambda: services.send_test(other, endpoint.pk, "cache.hit", actor=actor), EndpointNotFound),
        (lambda: services.redeliver(other, delivery.pk, actor=actor), DeliveryNotFound),
    ]:
        with pytest.raises(error):
            refused()
