"""Invalidating on a page, and what is written down of every invalidation."""

import json
import time
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from django.test import Client
from django.utils import timezone

from agentcache.analytics import services as usage
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.dashboard.entry_access import close_entry_access, entry_access, tenant_of
from agentcache.engine.entries import Entry, EntryMeta, Selector
from agentcache.gateway.kept_requests import seal_request
from agentcache.gateway.ports import InvalidationRecord
from agentcache.invalidations.jobs import InvalidationRecording
from agentcache.invalidations.queries import list_invalidations, that_meant
from agentcache.invalidations.services import record_invalidation
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp
from agentcache.kit.ids import new_id
from agentcache.prewarm.models import Batch, Keeping, KeptRequest, ProviderCredential
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks.models import Message
from tests.support.django_project import use_settings
from tests.support.sessions import browser_of
from tests.support.teams import join, make_team
from tests.support.usage import usage_event
from tests.support.webhooks import make_endpoint

PAGE = "/dashboard/cache/invalidate"
HOSTILE = '<img src=x onerror="alert(1)">'
KEYS = [bytes([number]) * 32 for number in range(1, 5)]


@pytest.fixture
def team(project):
    with use_settings(replace(project, store_budget_ms=10_000)):
        yield make_team()
        close_entry_access()


@pytest.fixture
def member(team) -> Client:
    return browser_of(join(team, "member@example.com", "member").user)


def store_entries(team, **meta):
    """Four answers; the first two are tagged `prices` and made from a source."""
    for number, key in enumerate(KEYS):
        known = {
            "dialect": "openai", "endpoint": "chat.completions", "model": "gpt-5-mini", "label": f"answer {number}",
            "stored_at": time.time() - 60, "lifetime_seconds": 3600, "cost_usd_nanos": 500_000_000,
            "stale_if_error_seconds": 60.0,
        }  # fmt: skip
        if number < 2:
            known |= {"tags": ("prices",), "sources": ("https://Example.com/prices",)}
        entry = Entry(key, EntryMeta(**{**known, **meta}), b"{}")
        entry_access().call(lambda store, entry=entry: store.put(tenant_of(team), entry))


def left(team):
    page = entry_access().call(lambda store: store.list_entries(tenant_of(team), Selector()))
    return {row.key for row in page.rows if row.stale_at is None}


def opened(browser, url, status=200):
    answer = browser.get(url)
    assert answer.status_code == status, url
    return answer.content.decode()


def test_a_preview_shows_entries_hits_and_money_and_changes_nothing(team, member):
    store_entries(team)
    usage.record_events(
        [
            *(usage_event(team, entry_key=KEYS[0].hex(), saved_usd_nanos=2_000_000_000) for _ in range(30)),
            *(usage_event(team, entry_key=KEYS[3].hex(), saved_usd_nanos=9_000_000_000) for _ in range(5)),
            usage_event(team, entry_key=KEYS[1].hex(), outcome="miss"),
        ]
    )
    page = opened(member, f"{PAGE}?tags=prices&reason=New+prices&preview=1")
    for shown in (
        "What would be removed",
        "Remove 2 entries",
        "$60.00",
        "$1.00",
        'value="New prices"',
        "last seven days",
    ):
        assert shown in page, shown
    assert len(left(team)) == 4
    assert "What would be marked stale" in opened(member, f"{PAGE}?url=https://example.com/prices&soft=1&preview=1")
    assert "Nothing that is stored now" in opened(member, f"{PAGE}?tags=absent&preview=1")


def test_a_confirmed_invalidation_is_done_shown_recorded_and_told(team, member):
    make_endpoint(team, event_types=["cache.invalidated"])
    store_entries(team)
    asked = {"tags": "prices, other", "reason": HOSTILE, "notify": "on"}
    answer = member.post(PAGE, asked)
    assert answer.status_code == 302
    assert left(team) == set(KEYS[2:])
    page = opened(member, answer["Location"])
    assert "2 entries removed" in page
    assert "member@example.com" in page
    assert HOSTILE not in page
    row = AuditEvent.objects.get(action="cache.invalidated")
    assert answer["Location"].endswith(row.target_id)
    assert (row.team_id, row.actor_email, row.target_name) == (team.pk, "member@example.com", "tags prices, other")
    assert row.after == {
        "tags": ["prices", "other"], "entries": 2, "marked_stale": False, "namespaces": ["default"], "bytes": 4,
        "cost_usd": "1.00", "reason": HOSTILE, "cause": "page",
    }  # fmt: skip
    told = json.loads(Message.objects.get().body)
    assert told["type"] == "cache.invalidated"
    assert told["data"] == {
        "invalidated": 2, "namespaces": ["default"], "criteria": {"tags": ["prices", "other"]}, "soft": False,
        "reason": HOSTILE, "cause": "page", "estimated_cost_impact_usd": "1.00", "job_id": None,
    }  # fmt: skip
    assert "tags prices, other" not in opened(member, "/dashboard/cache")
    assert "prices, other" in opened(member, PAGE)


def test_marking_stale_is_shown_on_the_entry_with_what_caused_it(team, member):
    store_entries(team)
    member.post(PAGE, {"url": "https://example.com:443/prices", "soft": "1", "reason": "Page changed"})
    assert left(team) == set(KEYS[2:])
    page = opened(member, f"/dashboard/cache/{KEYS[0].hex()}")
    for shown in ("Marked stale", "marked stale: 2 entries", "Page changed", "https://Example.com/prices"):
        assert shown in page, shown
    assert "Page changed" not in opened(member, f"/dashboard/cache/{KEYS[3].hex()}")
    assert Message.objects.count() == 0


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"preview": "1"}, None, "Give at least one criterion"),
        ({"namespace": "a b"}, "namespace", "is not a name"),
        ({"url": "example.com"}, "url", "absolute http(s) URL"),
        ({"older_than": "soon"}, "older_than", "is not a lifetime"),
        ({"keys": "abc"}, "keys", "length"),
        ({"tags": "x" * 200}, "tags", "is not a tag"),
    ],
)
def test_what_cannot_be_meant_is_said_beside_its_field(team, member, asked, field, said):
    store_entries(team)
    for answer in (member.get(PAGE, asked), member.post(PAGE, asked)):
        page = answer.content.decode()
        assert answer.status_code == 422
        assert said in page
        if field:
            assert f'id="id_{field}-error"' in page
    assert len(left(team)) == 4


def test_who_may_not_purge_sees_no_such_page(team):
    store_entries(team)
    viewer = browser_of(join(team, "viewer@example.com", "viewer").user)
    assert viewer.get(PAGE).status_code == 403
    assert viewer.post(PAGE, {"tags": "prices"}).status_code == 403
    assert PAGE not in opened(viewer, "/dashboard/cache")
    assert PAGE not in opened(viewer, f"/dashboard/cache/{KEYS[0].hex()}")
    assert len(left(team)) == 4


def keep_request(team):
    """Have the team keep one request, and a credential to ask it again."""
    Keeping.objects.create(team=team)
    row = ProviderCredential(team=team, provider="openai", last_four="8Qz4")
    row.sealed = current_secrets().seal_for_team(team.pk, bytes(team.wrapped_data_key), row.place, b"sk-of-the-team")
    row.save()
    key, now = KEYS[0].hex(), timezone.now()
    KeptRequest.objects.create(
        team=team, cache_key=key, provider="openai", model="gpt-5-mini", stored_at=now - timedelta(minutes=1),
        expires_at=now + timedelta(hours=1), path="default/openai/gpt-5-mini/x", tags=["prices"],
        sealed=seal_request(tenant_of(team), key, "/v1/chat/completions", {}, b"{}"),
    )  # fmt: skip


def test_admins_can_have_it_asked_again(team, member):
    store_entries(team)
    keep_request(team)
    admin = browser_of(join(team, "admin@example.com", "admin").user)
    assert 'name="pre_warm"' not in opened(member, PAGE)
    assert "1 kept request would then be asked again" in opened(admin, f"{PAGE}?tags=prices&preview=1&pre_warm=on")
    member.post(PAGE, {"tags": "prices", "pre_warm": "on"})
    assert not Batch.objects.exists()
    answer = admin.post(PAGE, {"tags": "prices", "pre_warm": "on"}, follow=True)
    assert "1 of the kept requests asked again" in answer.content.decode()
    batch = Batch.objects.get()
    assert (batch.team_id, batch.total, batch.started_by) == (team.pk, 1, "admin@example.com")
    answer = admin.post(PAGE, {"namespace": "eval", "pre_warm": "on"}, follow=True)
    assert "Nothing is asked again. No kept request fits." in answer.content.decode()


def test_another_teams_entries_and_invalidations_are_not_there(team, member):
    other = make_team("Red Foxes")
    store_entries(other)
    done = record(other)
    record_invalidation(done, Actor.system())
    assert "Nothing that is stored now" in opened(member, f"{PAGE}?tags=prices&preview=1")
    member.post(PAGE, {"tags": "prices"})
    assert len(left(other)) == 4
    opened(member, f"/dashboard/cache/invalidations/{done.id}", 404)
    assert [one.entries for one in list_invalidations(team, 10)] == [0]


# What the data plane hands over


def record(team, **members):
    known = {
        "id": new_id("inv_"), "tenant_id": team.pk, "at": time.time(), "criteria": {"tags": ["prices"]}, "entries": 3,
        "namespaces": {"prod": 3}, "cost_usd_nanos": 1_500_000_000, "api_key_id": "key_1", "address": "192.0.2.77",
    }  # fmt: skip
    return InvalidationRecord(**{**known, **members})


async def test_a_job_records_an_invalidation_once_however_often_it_is_done(project):
    threads = DatabaseThreads(threads=1, answer_within_seconds=60)
    try:
        team = await threads.run(make_team)
        await threads.run(lambda: make_endpoint(team, event_types=["cache.invalidated"]))
        payload = msgspec.to_builtins(record(team))
        job = InvalidationRecording(threads)
        for _ in range(3):
            await job(payload)
        await job(msgspec.to_builtins(record(team, notify=False, id="inv_quiet")))
        rows = await threads.run(lambda: list(AuditEvent.objects.filter(action="cache.invalidated").order_by("at")))
        assert [row.target_id for row in rows] == [payload["id"], "inv_quiet"]
        assert (rows[0].actor_api_key_id, rows[0].network, rows[0].after["cause"]) == ("key_1", "192.0.2.0/24", "api")
        assert await threads.run(Message.objects.count) == 1
        # A team that is gone has nobody to tell.
        await job({**payload, "id": "inv_gone", "tenant_id": "gone"})
        assert await threads.run(AuditEvent.objects.filter(target_id="inv_gone").count) == 0
        with pytest.raises(GiveUp):
            await job({"id": "inv_torn"})
    finally:
        threads.close()


@pytest.mark.parametrize(
    ("criteria", "is_meant"),
    [
        ({"tags": ["prices", "x"]}, True),
        ({"tags": ["x"]}, False),
        ({"url": "HTTPS://example.com/prices#now"}, True),
        ({"pattern": "default/openai/*"}, True),
        ({"namespace": "prod"}, False),
        ({"model": "gpt-5-mini", "provider": "openai", "olderThan": 5}, True),
        ({"keys": [KEYS[0].hex()]}, True),
        ({"keys": [KEYS[1].hex()]}, False),
        ({"all": True}, True),
    ],
)
def test_which_invalidations_meant_entries_like_one(team, criteria, is_meant):
    record_invalidation(record(team, criteria=criteria), Actor.system())
    meta = EntryMeta(
        dialect="openai", endpoint="chat.completions", model="gpt-5-mini", stored_at=0.0, lifetime_seconds=1.0,
        tags=("prices",), sources=("https://Example.com/prices",),
    )  # fmt: skip
    assert [one.facts["entries"] for one in that_meant(team, KEYS[0], meta, 5)] == ([3] if is_meant else [])
