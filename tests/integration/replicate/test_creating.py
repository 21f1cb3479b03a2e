"""What is cached, what is not, and what callers and webhooks are told."""

from __future__ import annotations

import json
import threading
import time

import pytest

from agentcache.engine.entries import Selector
from tests.integration.replicate.conftest import TEXT

CREATE = f"/v1/models/{TEXT}/predictions"


def status_of(response):
    return response.headers["cache-status"]


def test_a_hit_is_a_complete_prediction_on_our_host(raw, gateway):
    first = raw.create()
    second = raw.create()
    assert "stored" in status_of(first)
    assert "hit" in status_of(second)
    assert second.headers["age"] == "0"
    body = second.json()
    assert body["status"] == "succeeded"
    assert body["output"] == first.json()["output"]
    assert body["metrics"] == first.json()["metrics"]
    assert body["created_at"] == body["started_at"] == body["completed_at"]
    assert body["urls"]["get"] == f"{gateway.url}/replicate/v1/predictions/{body['id']}"
    assert "agentcache_files" not in body
    polled = raw.get(body["urls"]["get"]).json()
    assert polled == body
    cancelled = raw.client.post(body["urls"]["cancel"], headers=raw.headers)
    assert (cancelled.status_code, cancelled.json()) == (200, body)


def test_a_hit_repeats_this_caller_s_input(raw):
    raw.create(headers={"x-agentcache-ignore": "input.trace"}, trace="one")
    hit = raw.create(headers={"x-agentcache-ignore": "input.trace"}, trace="two")
    assert "hit" in status_of(hit)
    assert hit.json()["input"]["trace"] == "two"


def test_polls_of_a_miss_come_through_us(raw, gateway, provider):
    first = raw.create(wait=False, status=202).json()
    assert first["urls"]["get"].startswith(gateway.url)
    assert first["urls"]["cancel"].startswith(gateway.url)
    assert first["urls"]["stream"].startswith(provider.url)


def test_without_a_seed_nothing_is_cached_unless_the_caller_says_so(raw, provider):
    for _ in range(2):
        assert "detail=no_seed" in status_of(raw.create(seed=None))
    assert "stored" in status_of(raw.create(seed=None, headers={"x-agentcache-mode": "on"}))
    assert "hit" in status_of(raw.create(seed=None, headers={"x-agentcache-mode": "on"}))
    assert provider.calls_by_path[CREATE] == 3


def test_a_random_seed_is_no_seed(raw):
    assert "detail=no_seed" in status_of(raw.create(seed=-1))


def test_delivery_is_not_in_the_key_and_inline_files_are(raw, provider):
    raw.create(image="data:text/plain;base64,QQ==")
    assert "hit" in status_of(raw.create(image="data:text/plain;base64,QQ==", wait=False))
    assert "fwd=miss" in status_of(raw.create(image="data:text/plain;base64,Qg=="))
    assert provider.calls_by_path[CREATE] == 2


def test_models_inputs_buckets_and_teams_are_kept_apart(raw, gateway, provider):
    raw.create()
    raw.create(prompt="another")
    raw.create("acme/other-writer")
    raw.create(headers={"x-agentcache-bucket": "2"})
    raw.create(headers={"x-agentcache-key": gateway.make_key("somebody else")})
    assert provider.call_count == 5


def test_a_webhook_of_a_hit_is_delivered_by_us(raw, gateway, provider):
    hook = {"webhook": "https://example.com/hook", "webhook_events_filter": ["completed"]}
    first = raw.create(body=hook)
    assert provider.calls[-1].json["webhook"] == "https://example.com/hook"
    assert gateway.jobs == []
    second = raw.create(body=hook)
    assert "hit" in status_of(second)
    ((name, payload),) = gateway.jobs
    assert name == "webhook.deliver"
    assert payload["url"] == "https://example.com/hook"
    assert payload["message_id"] == second.json()["id"] != first.json()["id"]
    assert json.loads(payload["body"]) == second.json()
    assert payload["tenant_id"] == gateway.principals[raw.key].tenant.id


def test_a_webhook_that_cannot_be_promised_is_left_to_the_provider(raw, gateway, provider):
    raw.create()
    gateway.takes_jobs = False
    answer = raw.create(body={"webhook": "https://example.com/hook"})
    assert "fwd=" in status_of(answer)
    assert provider.calls[-1].json["webhook"] == "https://example.com/hook"


@pytest.mark.parametrize("body", [{"webhook": 7}, {"input": "text"}, {"input": None}])
def test_a_malformed_request_is_the_provider_s_to_judge(raw, provider, body):
    raw.client.post(f"{raw.gateway.url}/replicate{CREATE}", json={"input": {"seed": 1}, **body}, headers=raw.headers)
    assert provider.calls_by_path[CREATE] == 1


@pytest.mark.parametrize(
    ("headers", "is_stored"),
    [
        ({"cache-control": "no-store"}, False),
        ({"x-agentcache-mode": "off"}, False),
        ({"x-agentcache-mode": "read-only"}, False),
        ({"x-agentcache-mode": "refresh"}, True),
        ({"cache-control": "no-cache"}, True),
    ],
)
def test_directives_decide_what_is_read_and_written(raw, provider, headers, is_stored):
    raw.create(headers=headers)
    assert ("hit" in status_of(raw.create())) is is_stored
    raw.create(headers=headers)
    reads = headers == {"x-agentcache-mode": "read-only"}
    assert provider.calls_by_path[CREATE] == (1 if is_stored else 2) + (0 if reads else 1)


def test_only_if_cached_never_asks(raw, provider):
    raw.create(status=504, headers={"cache-control": "only-if-cached"})
    assert provider.call_count == 0


def test_an_entry_ends_with_its_lifetime_and_stands_in_when_agreed(raw, gateway, provider):
    first = raw.create(headers={"x-agentcache-ttl": "60"})
    gateway.clock.ahead_seconds = 61
    provider.script(status=503, times=2)
    raw.create(status=503)
    stale = raw.create(headers={"cache-control": "stale-if-error=600"})
    assert "detail=stale-if-error" in status_of(stale)
    assert stale.json()["output"] == first.json()["output"]
    assert "fwd=stale" in status_of(raw.create())


def test_a_prediction_older_than_max_age_does_not_stand_in_unasked(raw, gateway, provider):
    raw.create()
    gateway.clock.ahead_seconds = 61
    provider.script(status=503, times=None)
    raw.create(status=503, headers={"cache-control": "max-age=30"})
    assert "hit" in status_of(raw.create(headers={"cache-control": "max-age=30, stale-if-error=60"}))


def test_ids_of_ours_are_answered_to_their_team_only_and_while_the_entry_lives(raw, gateway):
    raw.create()
    hit = raw.create().json()
    other = {**raw.headers, "x-agentcache-key": gateway.make_key("somebody else")}
    assert raw.client.get(hit["urls"]["get"], headers=other).status_code == 404
    gateway.run(gateway.parts.entries.invalidate(gateway.principals[raw.key].tenant, Selector()))
    gone = raw.get(hit["urls"]["get"], 404)
    assert gone.json()["code"] == "prediction_not_found"


def test_a_prediction_invalidated_while_it_ran_is_not_stored(raw, gateway, provider):
    first = raw.create(wait=False, status=202).json()
    gateway.run(gateway.parts.entries.invalidate(gateway.principals[raw.key].tenant, Selector()))
    while raw.get(first["urls"]["get"]).json()["status"] != "succeeded":
        time.sleep(0.01)
    assert "hit" not in status_of(raw.create())


def test_callers_at_the_same_time_share_one_prediction(raw, gateway, provider):
    provider.script(hold=True, path=CREATE)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(raw.create())) for _ in range(4)]
    for thread in threads:
        thread.start()
    provider.wait_for_calls(1)
    while not any(flight.readers == 4 for flight in list(gateway.parts.flights._by_key.values())):
        time.sleep(0.002)
    provider.release()
    for thread in threads:
        thread.join(10)
    assert provider.calls_by_path[CREATE] == 1
    assert len({answer.json()["id"] for answer in answers}) == 4
    assert len({json.dumps(answer.json()["output"]) for answer in answers}) == 1
    assert sum("collapsed" in status_of(answer) for answer in answers) == 3
    assert sorted(event.outcome for event in gateway.events()) == ["coalesced"] * 3 + ["miss"]


def test_a_waiting_caller_creates_its_own_when_the_other_s_does_not_end_in_time(raw, gateway, provider):
    provider.script(hold=True, prediction_seconds=30.0, path=CREATE, times=1)
    answers = []
    prefer = {"prefer": "wait=1"}
    first = threading.Thread(target=lambda: answers.append(raw.create(status=202, headers=prefer)))
    first.start()
    provider.wait_for_calls(1)
    second = threading.Thread(target=lambda: answers.append(raw.create(headers=prefer)))
    second.start()
    while not any(flight.readers == 2 for flight in list(gateway.parts.flights._by_key.values())):
        time.sleep(0.002)
    provider.release()
    first.join(10)
    second.join(10)
    assert provider.calls_by_path[CREATE] == 2
    assert len({answer.json()["id"] for answer in answers}) == 2


def test_time_and_tokens_are_metered_once(raw, gateway):
    first = raw.create(wait=False, status=202).json()
    while raw.get(first["urls"]["get"]).json()["status"] != "succeeded":
        time.sleep(0.01)
    raw.create()
    events = gateway.events()
    assert [event.outcome for event in events if event.outcome != "bypass"] == ["miss", "exact"]
    assert events[0].model == TEXT


def test_what_is_left_alone_passes_through(raw, provider):
    raw.create()
    listed = raw.get(f"{raw.gateway.url}/replicate/v1/predictions").json()
    assert listed["results"]
    assert raw.get(f"{raw.gateway.url}/replicate/v1/models/{TEXT}").json()["owner"] == "acme"
    raw.get(f"{raw.gateway.url}/replicate/v1/predictions/nonexistent", 404)
