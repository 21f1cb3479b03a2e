import json

import pytest
from django.db import connection, transaction
from pydantic import ValidationError

from agentcache.jobs.models import Job
from agentcache.kit.ids import new_id
from agentcache.teams.models import Team
from agentcache.webhooks.event_types import BODY_BYTES_MAX, EVENT_TYPES
from agentcache.webhooks.models import Delivery, Message
from agentcache.webhooks.services import DELIVER, emit
from tests.support.teams import make_team
from tests.support.webhooks import make_endpoint, sample


def emit_sample(team, event_type="cache.invalidated", **members):
    with transaction.atomic():
        return emit(team.pk, event_type, {**sample(event_type), **members})


def test_an_event_becomes_a_message_and_a_delivery_with_its_job_for_each_endpoint_that_asked(team):
    asked = [make_endpoint(team, event_types=["cache.invalidated"]), make_endpoint(team)]
    make_endpoint(team, event_types=["listener.changed"])
    message_id = emit_sample(team)
    message = Message.objects.get(pk=message_id)
    assert message_id.startswith("msg_")
    told = json.loads(message.body)
    assert told == {"type": "cache.invalidated", "timestamp": told["timestamp"], "data": sample("cache.invalidated")}
    deliveries = Delivery.objects.order_by("id")
    assert {row.endpoint_id for row in deliveries} == {row.pk for row in asked}
    jobs = {row.pk: row for row in Job.objects.filter(name=DELIVER)}
    assert set(jobs) == {f"{row.pk}:0" for row in deliveries}
    assert {jobs[row.job_id].lane for row in deliveries} == {f"webhooks:{row.pk}" for row in asked}


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_sample_is_what_its_schema_says(name, team):
    make_endpoint(team)
    assert emit_sample(team, name) is not None
    schema = EVENT_TYPES[name].schema
    assert all("description" in member or "$ref" in member for member in schema["properties"].values())


def test_without_an_endpoint_that_asked_nothing_is_written(team):
    make_endpoint(team, event_types=["listener.changed"])
    other = make_team("Red Foxes")
    make_endpoint(other)
    assert emit_sample(team) is None
    assert emit_sample(Team(pk=new_id())) is None
    assert not Message.objects.exists()


def test_an_endpoint_that_is_off_is_told_nothing(team, endpoint):
    endpoint.is_enabled = False
    endpoint.save()
    assert emit_sample(team) is None


def test_what_is_rolled_back_with_its_cause_is_never_sent(team, endpoint):
    class Boom(Exception):
        pass

    with pytest.raises(Boom), transaction.atomic():
        emit(team.pk, "cache.invalidated", sample("cache.invalidated"))
        raise Boom
    assert not Message.objects.exists()
    assert not Job.objects.filter(name=DELIVER).exists()


def test_an_event_outside_a_transaction_is_refused(team, endpoint):
    assert not connection.in_atomic_block
    with pytest.raises(RuntimeError, match="transaction"):
        emit(team.pk, "cache.invalidated", sample("cache.invalidated"))


def test_what_a_type_does_not_have_is_refused(team, endpoint):
    with pytest.raises(ValidationError):
        emit_sample(team, prompt="never in a webhook")
    with pytest.raises(KeyError):
        emit_sample(team, "cache.invalidated.twice")


@pytest.mark.parametrize("character", ["n", "🙂"])
def test_what_callers_choose_is_cut_so_that_a_body_stays_below_20_kb(character, team, endpoint):
    long = {
        "namespaces": [character * 500] * 500,
        "criteria": {f"{character * 300}{number}": [character * 500] * 500 for number in range(100)},
        "reason": character * 50_000,
    }
    body = Message.objects.get(pk=emit_sample(team, **long)).body
    assert 2_000 < len(body.encode()) <= BODY_BYTES_MAX


def test_a_long_list_of_short_names_keeps_its_first_50(team, endpoint):
    body = Message.objects.get(pk=emit_sample(team, namespaces=[str(number) for number in range(500)])).body
    assert json.loads(body)["data"]["namespaces"] == [str(number) for number in range(50)]
