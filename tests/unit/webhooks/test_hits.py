"""A sample of hits is told of where usage is taken into the database."""

import json

import pytest

from agentcache.analytics.models import UsageEvent
from agentcache.analytics.services import record_events
from agentcache.kit.ids import new_id
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import Delivery, Message
from agentcache.webhooks.services.hits import HITS_MAX
from tests.support.teams import make_team
from tests.support.usage import usage_event
from tests.support.webhooks import make_endpoint


def told():
    return [json.loads(row.body)["data"] for row in Message.objects.filter(event_type="cache.hit").order_by("id")]


def test_hits_are_told_of_once_though_their_batch_comes_twice(team):
    make_endpoint(team, hits_per_mille=1000)
    event = usage_event(team, saved_usd_nanos=2_100_000)
    record_events([event])
    record_events([event])
    [data] = told()
    assert (data["request_id"], data["cost_avoided_usd"], data["outcome"]) == (event.id, "0.0021", "exact")
    EVENT_TYPES["cache.hit"].model.model_validate(data)


@pytest.mark.parametrize("outcome", ["miss", "bypass", "error", "refused", "coalesced"])
def test_what_is_no_hit_is_not_told_of(outcome, team):
    make_endpoint(team, hits_per_mille=1000)
    record_events([usage_event(team, outcome=outcome)])
    assert told() == []


def test_an_endpoint_that_asks_for_no_share_is_told_of_none(team):
    make_endpoint(team)
    make_endpoint(team, hits_per_mille=1000, event_types=["cache.invalidated"])
    record_events([usage_event(team) for _ in range(10)])
    assert told() == []


def test_namespaces_and_teams_are_kept_apart(team):
    make_endpoint(team, hits_per_mille=1000, hits_namespace="prod")
    other = make_team("Red Foxes")
    wanted = usage_event(team, namespace="prod")
    record_events([usage_event(team), usage_event(other, namespace="prod"), wanted])
    assert [data["request_id"] for data in told()] == [wanted.id]


def test_a_share_is_about_that_share_and_the_same_for_all(team):
    from zlib import crc32

    make_endpoint(team, hits_per_mille=100)
    events = [usage_event(team, id=new_id()) for _ in range(300)]
    record_events(events)
    drawn = [event.id for event in events if crc32(event.id.encode()) % 1000 < 100]
    assert {data["request_id"] for data in told()} == set(drawn[:HITS_MAX])


def test_a_flood_of_hits_is_cut_and_its_usage_kept_whole(team):
    make_endpoint(team, hits_per_mille=1000)
    record_events([usage_event(team) for _ in range(HITS_MAX + 30)])
    assert len(told()) == Delivery.objects.count() == HITS_MAX
    assert UsageEvent.objects.count() == HITS_MAX + 30
