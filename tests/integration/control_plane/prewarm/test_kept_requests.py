"""Requests that a team wants kept: sealed on their way and at rest, and asked again by what became of their answers."""

import asyncio
import json
from datetime import timedelta

import httpx2 as httpx
import pytest
from django.utils import timezone

from agentcache.analytics.services import record_events
from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.kept_requests import requests_dir, waiting_request_files
from agentcache.kit.clock import SystemClock
from agentcache.prewarm import queries, services
from agentcache.prewarm.models import Batch, BatchRequest, KeptRequest, Schedule
from agentcache.teams.secrets import current_secrets
from tests.support.prewarming import do, keep_credential, serving, start
from tests.support.prewarming_requests import chat
from tests.support.sessions import browser_of, program_of
from tests.support.teams import make_team
from tests.support.usage import usage_event

API = "/api/cache/prewarm"


@pytest.fixture
def kept(settings, team):
    keep_credential(settings, team)
    services.set_keeping(team, is_on=True, actor=Actor.system())


@pytest.fixture
def admin(people):
    return program_of(people["admin"].user)


def ask(program, method, path, body=None):
    return program.generic(method, path, "" if body is None else json.dumps(body), "application/json")


def take(settings):
    return services.take_files(requests_dir(settings.data_dir))


def call(settings, team, provider, *requests, keeps=True):
    """Have callers ask through a gateway."""
    with serving(settings, team, provider, keeps=keeps) as (url, api_key):
        for request, headers in requests:
            answer = httpx.post(
                f"{url}/openai/v1/chat/completions",
                json=request["body"],
                headers={"X-AgentCache-Key": api_key, "Authorization": "Bearer sk-callers-own", **headers},
            )
            assert answer.status_code == 200


def test_what_was_fetched_is_kept_sealed_and_a_hit_leaves_nothing(settings, team, kept, provider):
    call(settings, team, provider, (chat("whisper"), {"X-AgentCache-Tags": "shop"}), (chat("whisper"), {}))
    (path,) = waiting_request_files(requests_dir(settings.data_dir))
    assert b"whisper" not in path.read_bytes()
    assert b"sk-callers-own" not in path.read_bytes()
    assert take(settings) == 1
    row = KeptRequest.objects.get()
    assert b"whisper" not in bytes(row.sealed)
    assert (row.provider, row.model) == ("openai", "gpt-4o-mini")
    assert not waiting_request_files(requests_dir(settings.data_dir))


def test_a_team_that_does_not_want_it_leaves_nothing(settings, team, provider):
    call(settings, team, provider, (chat("one"), {}), keeps=False)
    assert not waiting_request_files(requests_dir(settings.data_dir))
    # What was on its way when it was switched off is dropped.
    call(settings, team, provider, (chat("two"), {}))
    assert take(settings) == 0
    assert not KeptRequest.objects.exists()


def test_what_was_invalidated_is_asked_again_with_what_it_carried(settings, team, kept, provider, admin):
    call(settings, team, provider, (chat("one"), {"X-AgentCache-Tags": "shop"}), (chat("two"), {}))
    take(settings)
    tenant = current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)

    async def with_entries(work):
        stores = open_stores(settings, SystemClock())
        try:
            return await work(stores.entries)
        finally:
            await stores.close()

    asyncio.run(with_entries(lambda entries: entries.invalidate(tenant, Selector(tags=("shop",)))))
    made = ask(admin, "POST", API, {"from": "invalidated", "window": "1h"})
    assert (made.status_code, made.json()["requests"]) == (202, 2), made.content
    batch = do(settings, Batch.objects.get())
    assert (batch.warmed, batch.skipped) == (1, 1)
    key = bytes.fromhex(BatchRequest.objects.get(state="warmed").cache_key)
    found = asyncio.run(with_entries(lambda entries: entries.get(tenant, key)))
    assert found.entry.meta.tags == ("shop",)
    assert take(settings) == 1


def test_the_most_asked_come_first(settings, team, kept, admin):
    batch = do(settings, start(settings, team, [chat("rare"), chat("often"), chat("never")], concurrency=1))
    take(settings)
    rare, often, _ = BatchRequest.objects.filter(batch=batch).order_by("position").values_list("cache_key", flat=True)
    record_events([usage_event(team, entry_key=key) for key in (often, often, rare)])
    made = ask(admin, "POST", API, {"from": "top", "window": "1h", "limit": 1, "dry_run": True})
    top = do(settings, Batch.objects.get(pk=made.json()["id"]))
    assert BatchRequest.objects.get(batch=top).cache_key == often
    both = ask(admin, "POST", API, {"from": "top", "dry_run": True}).json()
    assert both["requests"] == 2


def test_what_expires_within_the_window_is_kept_fresh(settings, team, kept, admin, provider):
    do(settings, start(settings, team, [{**chat("soon"), "ttl": 60}, {**chat("later"), "ttl": "7d"}]))
    take(settings)
    made = ask(admin, "POST", API, {"from": "expiring", "window": "1h"})
    assert made.json()["requests"] == 1
    none = ask(admin, "POST", API, {"from": "expiring", "window": "10s"})
    assert (none.status_code, none.json()["code"]) == (409, "nothing_to_prewarm")


def test_a_schedule_chooses_anew_at_each_run(settings, team, kept, admin):
    given = {"title": "Top 10", "from": "top", "limit": 10, "window": "7d", "cron": "nightly"}
    made = ask(admin, "POST", f"{API}/schedules", given)
    assert (made.status_code, made.json()["chosen_from"], made.json()["requests"]) == (201, "top", 10), made.content
    assert services.start_due(current_secrets(), timezone.now() + timedelta(days=2)) == 0
    assert Schedule.objects.get().last_error == "No kept request fits."
    batch = do(settings, start(settings, team, [chat("one")]))
    take(settings)
    key = BatchRequest.objects.get(batch=batch).cache_key
    record_events([usage_event(team, entry_key=key)])
    assert services.start_due(current_secrets(), timezone.now() + timedelta(days=4)) == 1


def test_switching_it_off_deletes_what_is_kept(settings, team, kept, admin, people):
    do(settings, start(settings, team, [chat("one")]))
    take(settings)
    assert ask(admin, "GET", f"{API}/keeping").json() == {"keeps_requests": True, "kept": 1}
    viewer = program_of(people["viewer"].user)
    assert ask(viewer, "PUT", f"{API}/keeping", {"keeps_requests": False}).status_code == 403
    assert ask(admin, "PUT", f"{API}/keeping", {"keeps_requests": False}).json() == {"keeps_requests": False, "kept": 0}
    refused = ask(admin, "POST", API, {"from": "top"})
    assert (refused.status_code, refused.json()["code"]) == (409, "requests_not_kept")
    browser = browser_of(people["admin"].user)
    assert "Nothing that callers ask is kept" in browser.get("/dashboard/prewarm").content.decode()
    assert (
        "are kept from now on" in browser.post("/dashboard/prewarm/keeping", {"on": "1"}, follow=True).content.decode()
    )
    assert queries.keeps_requests(team.pk)
    assert not queries.keeps_requests(make_team("Red Foxes").pk)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"from": "bottom"}, "from"),
        ({"from": "top", "requests": [chat("a")]}, "from"),
        ({"from": "top", "window": "31d"}, "window"),
        ({"from": "top", "window": "soon"}, "window"),
        ({"from": "top", "limit": 0}, "limit"),
        ({}, "requests"),
    ],
)
def test_what_is_malformed_is_named(kept, admin, body, param):
    answer = ask(admin, "POST", API, body)
    assert (answer.status_code, answer.json()["param"].strip(".")) == (400, param), answer.content


def test_old_ones_are_deleted_and_so_is_what_is_too_much(settings, team, kept, monkeypatch):
    do(settings, start(settings, team, [chat(str(number)) for number in range(4)]))
    take(settings)
    monkeypatch.setattr(services.keeping, "KEPT_MAX", 2)
    services.prune_kept(timezone.now())
    assert KeptRequest.objects.count() <= 2
    services.prune_kept(timezone.now() + timedelta(days=31))
    assert not KeptRequest.objects.exists()
