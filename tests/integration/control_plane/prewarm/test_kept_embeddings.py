"""Items of embeddings that a team wants kept: each as a request of its own, asked again many in a call."""

import asyncio
import json
from datetime import timedelta

import openai
import pytest
from django.utils import timezone

from agentcache.analytics.services import record_events
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.kept_requests import requests_dir, waiting_request_files
from agentcache.gateway.usage_spool import read_events, spool_dir, waiting_files
from agentcache.jobs.services import at as aware
from agentcache.kit.clock import SystemClock
from agentcache.policies.drafts import MatchDraft, PolicyDraft
from agentcache.policies.presets import PRESETS
from agentcache.policies.services import add_policy
from agentcache.prewarm import services
from agentcache.prewarm.given import Options
from agentcache.prewarm.models import Batch, BatchRequest, KeptRequest
from agentcache.tasks.models import Task
from agentcache.teams.secrets import current_secrets
from tests.support.gateway import MovableClock
from tests.support.prewarming import do, keep_credential, refresh_due, serving, start
from tests.support.prewarming_requests import chat
from tests.support.sessions import browser_of, program_of
from tests.support.usage import usage_event

API = "/api/cache/prewarm"
MODEL = "text-embedding-3-small"


@pytest.fixture
def kept(settings, team):
    keep_credential(settings, team)
    services.set_keeping(team, is_on=True, actor=Actor.system())


@pytest.fixture
def embed(settings, team, kept, provider):
    """Have a caller ask with the official client, and what is kept taken; return how many that was."""

    def ask(*inputs, tags=""):
        with serving(settings, team, provider) as (url, api_key):
            headers = {"X-AgentCache-Key": api_key, **({"X-AgentCache-Tags": tags} if tags else {})}
            with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-callers-own", default_headers=headers) as client:
                for given in inputs:
                    client.embeddings.create(model=MODEL, input=given, encoding_format="float", dimensions=8)
        return take(settings)

    return ask


@pytest.fixture
def admin(people):
    return program_of(people["admin"].user)


def take(settings):
    return services.take_files(requests_dir(settings.data_dir))


def prewarm(settings, admin, **given):
    """Have a batch chosen and done; return it with its results in order."""
    made = admin.post(API, json.dumps(given), "application/json")
    assert made.status_code == 202, made.content
    batch = do(settings, Batch.objects.get(pk=made.json()["id"]))
    rows = BatchRequest.objects.filter(batch=batch).order_by("position")
    return batch, [row.state for row in rows]


def forget(settings, team, *tags):
    """Invalidate what has one of the tags, or everything."""
    tenant = current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)

    async def work():
        stores = open_stores(settings, SystemClock())
        try:
            await stores.entries.invalidate(tenant, Selector(tags=tags) if tags else Selector(pattern="*"))
        finally:
            await stores.close()

    asyncio.run(work())


def inputs(provider):
    return [call.json["input"] for call in provider.calls if call.path.endswith("/embeddings")]


def test_each_item_that_was_fetched_is_kept_sealed_under_its_own_key(settings, team, embed):
    def stored():
        return sorted(KeptRequest.objects.values_list("cache_key", flat=True))

    with_whole = embed(["whisper", "murmur", "whisper"], tags="shop")
    # What is known leaves nothing, of a list as of a single one.
    assert (with_whole, embed("whisper"), embed(["murmur", "shout"])) == (2, 0, 1)
    raw = b"".join(bytes(row.sealed) for row in KeptRequest.objects.all())
    assert b"whisper" not in raw and b"sk-callers-own" not in raw
    rows = KeptRequest.objects.order_by("stored_at")
    assert {(row.provider, row.model) for row in rows} == {("openai", MODEL)}
    assert [row.tags for row in rows] == [["shop"], ["shop"], []]
    # Asked alone they make the keys that they were kept under, so they are found fresh.
    opened = services.keeping.opened(current_secrets(), team, [row.pk for row in rows])
    batch = do(settings, services.start_batch(current_secrets(), team, opened, Options(), actor=Actor.system()))
    results = BatchRequest.objects.filter(batch=batch)
    assert (batch.skipped, sorted(results.values_list("cache_key", flat=True))) == (3, stored())


def test_nothing_is_in_plain_on_the_disk_and_large_items_are_not_kept(settings, team, kept, provider):
    with (
        serving(settings, team, provider) as (url, api_key),
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-x", default_headers={"X-AgentCache-Key": api_key}) as client,
    ):
        client.embeddings.create(model=MODEL, input=["whisper", "x" * 65_536])
    (path,) = waiting_request_files(requests_dir(settings.data_dir))
    assert b"whisper" not in path.read_bytes()
    assert take(settings) == 1


def test_what_was_invalidated_is_estimated_and_asked_again_in_one_call(settings, team, embed, provider, admin, people):
    embed(["red", "green", "blue"], ["grey"], tags="colours")
    embed("seven", tags="numbers")
    forget(settings, team, "colours")
    dry, _ = prewarm(settings, admin, **{"from": "invalidated", "window": "1h", "dry_run": True})
    result = Task.objects.get(pk=dry.task_id).result
    assert (result["fresh"], result["to_ask"], result["embeddings"]) == (1, 4, 5)
    assert 0 < dry.likely_usd_nanos <= dry.most_usd_nanos
    assert AuditEvent.objects.get(action="prewarm.started").after["embeddings"] == 5
    before, spent = inputs(provider), len(waiting_files(spool_dir(settings.data_dir)))
    assert admin.post(f"{API}/{dry.pk}/run").status_code == 202
    batch = do(settings, Batch.objects.get(pk=dry.pk))
    assert (batch.warmed, batch.skipped, batch.failed) == (4, 1, 0)
    (asked,) = inputs(provider)[len(before) :]
    assert sorted(asked) == ["blue", "green", "grey", "red"]
    # Each has its share of what the one call cost, which is one event.
    files = waiting_files(spool_dir(settings.data_dir))[spent:]
    (event,) = (event for path in files for event in read_events(path))
    rows = BatchRequest.objects.filter(batch=batch, state="warmed")
    assert sum(row.cost_usd_nanos for row in rows) == batch.cost_usd_nanos == event.cost_usd_nanos > 0
    shown = admin.get(f"{API}/{dry.pk}").json()
    assert (shown["requests"], shown["embeddings"]) == (5, 5)
    assert {one["kind"] for one in admin.get(f"{API}/{dry.pk}/results").json()["results"]} == {"embedding"}
    page = browser_of(people["admin"].user).get(f"/dashboard/prewarm/{dry.pk}").content.decode()
    assert "5 items, up to 64 in a call" in page
    # Kept anew with what they carried, and now fresh.
    assert take(settings) == 4
    assert sum(row.tags == ["colours"] for row in KeptRequest.objects.all()) == 4
    again, _ = prewarm(settings, admin, **{"from": "invalidated", "tags": ["colours"]})
    assert (again.total, again.skipped, len(inputs(provider))) == (4, 4, len(before) + 1)


def test_items_of_one_model_go_together_and_nothing_else_does(settings, team, embed, provider, admin):
    do(settings, start(settings, team, [chat("one")]))
    take(settings)
    embed(["a", "b"], [[1, 2], [3]])
    forget(settings, team)
    calls = len(inputs(provider))
    batch, states = prewarm(settings, admin, **{"from": "expiring", "window": "30d", "concurrency": 1})
    assert (states, batch.items) == (["warmed"] * 5, 4)
    assert [sorted(given) for given in inputs(provider)[calls:]] == [["a", "b"], [[1, 2], [3]]]


def test_an_item_counts_as_asked_with_the_request_that_it_came_with(settings, team, embed, provider, admin):
    embed(["red", "green"], "blue", "grey")
    came_with = {row.cache_key: row.asked_as for row in KeptRequest.objects.all()}
    (whole,) = {asked_as for key, asked_as in came_with.items() if asked_as != key}
    blue = min(key for key, asked_as in came_with.items() if asked_as == key)
    record_events([usage_event(team, entry_key=key) for key in (whole, whole, blue)])
    forget(settings, team)
    _, states = prewarm(settings, admin, **{"from": "top", "window": "1h", "limit": 2})
    assert (states, sorted(inputs(provider)[-1])) == (["warmed"] * 2, ["green", "red"])
    # What the server asked for itself does not take that from them.
    take(settings)
    assert {row.cache_key: row.asked_as for row in KeptRequest.objects.all()} == came_with
    given = {"title": "Top", "from": "top", "limit": 10, "window": "7d", "cron": "nightly"}
    assert admin.post(f"{API}/schedules", json.dumps(given), "application/json").status_code == 201
    assert services.start_due(current_secrets(), timezone.now() + timedelta(days=2)) == 1
    assert Batch.objects.order_by("-id").first().items == 3


def test_what_there_is_no_money_for_is_left_out(settings, team, embed, provider, admin):
    embed(["aaaa", "bbbb", "cccc"])
    forget(settings, team)
    most = prewarm(settings, admin, **{"from": "invalidated", "dry_run": True})[0].most_usd_nanos
    poor, states = prewarm(settings, admin, **{"from": "invalidated", "cost_cap_usd": f"{most / 4e9:.9f}"})
    assert (states, poor.cost_usd_nanos, len(inputs(provider))) == (["left"] * 3, 0, 1)
    # Two are set aside for; they cost less than that, so then there is money for the third.
    batch, states = prewarm(settings, admin, **{"from": "invalidated", "cost_cap_usd": f"{most * 0.7e-9:.9f}"})
    assert (states, [len(given) for given in inputs(provider)]) == (["warmed"] * 3, [3, 2, 1])
    assert 0 < batch.cost_usd_nanos <= most * 0.7


def test_a_refused_call_is_taken_apart_to_find_the_item(settings, team, embed, provider, admin):
    embed(["one", "two", "three", "four"])
    forget(settings, team)
    provider.script(status=400, when=lambda call: "three" in call.json["input"], times=None)
    _, states = prewarm(settings, admin, **{"from": "invalidated"})
    assert sorted(states) == ["failed", "warmed", "warmed", "warmed"]
    # Where it is about no item, only the first call of a batch is taken apart.
    provider.clear_scripts()
    forget(settings, team)
    provider.script(status=400, times=None)
    calls = len(inputs(provider))
    _, states = prewarm(settings, admin, **{"from": "invalidated"})
    assert (states, len(inputs(provider)) - calls) == (["failed"] * 4, 7)


def test_items_go_together_only_where_the_same_policy_means_them_together(settings, team, embed, provider, admin):
    embed(["one", "two", "three", "four"])
    forget(settings, team)
    minute = PolicyDraft("Three", match=MatchDraft(prompt="three"), lifetime_seconds=60)
    add_policy(team, minute, actor=Actor.system())
    calls = len(inputs(provider))
    _, states = prewarm(settings, admin, **{"from": "invalidated"})
    # Alone what the policy means, and beside it the one that it was looked at with.
    assert (states, sorted(map(len, inputs(provider)[calls:]))) == (["warmed"] * 4, [1, 1, 2])
    take(settings)
    lifetimes = [(row.expires_at - row.stored_at).total_seconds() for row in KeptRequest.objects.all()]
    assert sorted(round(lifetime) == 60 for lifetime in lifetimes) == [False, False, False, True]


def test_a_policy_that_refreshes_ahead_keeps_items_for_that_alone(settings, team):
    keep_credential(settings, team)
    given = {"path": "/v1/embeddings", "body": {"model": MODEL, "input": ["a", "b"]}}
    do(settings, start(settings, team, [given]))
    assert take(settings) == 0
    add_policy(team, PRESETS["news"].draft, actor=Actor.system())
    do(settings, start(settings, team, [{**given, "namespace": "news"}]))
    assert (take(settings), KeptRequest.objects.filter(refresh_at__isnull=False).count()) == (2, 2)


def test_an_invalidation_asks_for_items_again_and_what_is_outdated_is_asked_in_one_call(
    settings, team, embed, provider
):
    embed(["red", "green", "blue"], tags="colours")
    selector, now = Selector(tags=("colours",)), timezone.now()
    assert services.would_ask(team, [selector], now, 100).requests == 3
    again = services.ask_again(current_secrets(), team, [selector], now, Options("What"), limit=2, actor=Actor.system())
    assert (again.requests, Batch.objects.get(task_id=again.job_id).items) == (2, 2)
    clock = MovableClock()
    clock.move(60)
    services.mark_outdated(team, [selector], aware(clock.now()), aware(clock.now()))
    calls = len(inputs(provider))

    assert (refresh_due(settings, clock), len(inputs(provider)) - calls) == (3, 1)
    assert not KeptRequest.objects.filter(refresh_at__isnull=False).exists()


def test_many_items_push_out_no_other_requests(settings, team, embed, monkeypatch):
    monkeypatch.setattr(services.keeping, "KEPT_MAX", 2)
    do(settings, start(settings, team, [chat("one"), chat("two")]))
    take(settings)
    embed(["a"], ["b"], ["c"], ["d"])
    kinds = KeptRequest.objects.values_list("asked_as", flat=True)
    assert (sum(not kind for kind in kinds), sum(bool(kind) for kind in kinds)) == (2, 2)
