"""Kept requests that are asked anew: what an invalidation made unusable, what is outdated, what a policy refreshes ahead."""

import asyncio

import msgspec
import pytest

from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.kept_requests import requests_dir
from agentcache.gateway.ports import AskAgain, OutdatedRecord
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.services import at as aware
from agentcache.jobs.worker import GiveUp
from agentcache.policies.presets import PRESETS
from agentcache.policies.services import add_policy, save_all
from agentcache.prewarm import services
from agentcache.prewarm.jobs import RefreshingOutdated
from agentcache.prewarm.models import Batch, BatchRequest, Keeping, KeptRequest, ProviderCredential
from agentcache.prewarm.prewarmer import DjangoPrewarmer
from agentcache.prewarm.services.ahead import FAILURES_MAX, LEASE
from agentcache.teams.secrets import current_secrets
from tests.support.gateway import MovableClock
from tests.support.prewarming import do, keep_credential, refresh_due, start
from tests.support.prewarming_requests import chat
from tests.support.teams import make_team

HOW = AskAgain(limit=100, concurrency=4)
PRICES = "https://example.com/prices"


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def kept(settings, team):
    keep_credential(settings, team)
    services.set_keeping(team, is_on=True, actor=Actor.system())


def fill(settings, team, clock, *requests):
    """Have requests answered and stored, and what they asked taken; return their cache keys in order."""
    batch = do(settings, start(settings, team, list(requests), concurrency=1), clock)
    services.take_files(requests_dir(settings.data_dir))
    rows = BatchRequest.objects.filter(batch=batch).order_by("position")
    return [bytes.fromhex(key) for key in rows.values_list("cache_key", flat=True)]


def tenant_of(team):
    return current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)


def with_entries(settings, clock, work):
    """Do something with the entry store, as another worker would."""

    async def opened():
        stores = open_stores(settings, clock)
        try:
            return await work(stores.entries)
        finally:
            await stores.close()

    return asyncio.run(opened())


def look_up(settings, team, clock, *keys):
    async def get_all(entries):
        return [(await entries.get(tenant_of(team), key)).entry for key in keys]

    return with_entries(settings, clock, get_all)


def refresh(settings, clock):
    """Ask what is due, to its end; return how many that were."""
    number = refresh_due(settings, clock)
    services.take_files(requests_dir(settings.data_dir))
    return number


def with_prewarmer(settings, work):
    async def opened():
        threads = DatabaseThreads(threads=1, answer_within_seconds=60)
        try:
            return await work(DjangoPrewarmer(threads, current_secrets(), requests_dir(settings.data_dir)))
        finally:
            threads.close()

    return asyncio.run(opened())


def ask_again(settings, team, selector, at, how=HOW):
    who = {"api_key_id": "key_1", "user_id": "", "address": "192.0.2.7"}
    return with_prewarmer(settings, lambda one: one.ask_again(team.pk, selector, at, how, **who))


# What an invalidation made unusable


def test_what_was_invalidated_is_asked_again_as_a_job(settings, team, kept, provider, clock):
    keys = fill(
        settings, team, clock,
        {**chat("one"), "tags": ["shop"]}, {**chat("two"), "sources": [PRICES]}, {**chat("three"), "namespace": "eval"},
    )  # fmt: skip
    clock.move(10)
    with_entries(settings, clock, lambda entries: entries.withdraw(tenant_of(team), Selector(tags=("shop",))))
    would = with_prewarmer(settings, lambda one: one.would_ask(team.pk, Selector(tags=("shop",)), clock.now(), HOW))
    assert (would.requests, would.job_id, Batch.objects.count()) == (1, "", 1)
    again = ask_again(settings, team, Selector(tags=("shop",)), clock.now())
    batch = Batch.objects.get(task_id=again.job_id)
    assert (again.requests, again.problem, batch.title) == (1, "", "What was invalidated")
    batch = do(settings, batch, clock)
    assert (batch.warmed, batch.skipped) == (1, 0)
    (entry,) = look_up(settings, team, clock, keys[0])
    assert entry.meta.tags == ("shop",)


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        (Selector(source="HTTPS://example.com:443/prices#today"), 1),
        (Selector(pattern="eval/openai/*"), 1),
        (Selector(namespace="eval", model="gpt-4o-mini"), 1),
        (Selector(dialect="openai"), 3),
        (Selector(tags=("absent",)), 0),
        (Selector(stored_before=1.0), 0),
    ],
)
def test_what_is_asked_again_is_what_the_criteria_mean(settings, team, kept, clock, selector, number):
    keys = fill(
        settings, team, clock,
        {**chat("one"), "tags": ["shop"]}, {**chat("two"), "sources": [PRICES]}, {**chat("three"), "namespace": "eval"},
    )  # fmt: skip
    again = ask_again(settings, team, selector, clock.now())
    assert (again.requests, again.problem) == (number, "" if number else "nothing_to_prewarm")
    assert ask_again(settings, team, Selector(keys=(keys[1],)), clock.now()).requests == 1
    assert ask_again(settings, make_team("Red Foxes"), selector, clock.now()).problem == "requests_not_kept"


def test_why_nothing_is_asked_again_is_told(settings, team, kept, clock):
    everything = Selector(namespace="default")
    assert ask_again(settings, team, everything, clock.now()).problem == "nothing_to_prewarm"
    fill(settings, team, clock, chat("one"), chat("two"))
    assert ask_again(settings, team, everything, clock.now(), AskAgain(1, 4)).requests == 1
    ProviderCredential.objects.all().delete()
    assert ask_again(settings, team, everything, clock.now()).problem == "credential_missing"
    Keeping.objects.all().delete()
    assert ask_again(settings, team, everything, clock.now()).problem == "requests_not_kept"


# What is known to be outdated


def mark(settings, clock, **members):
    async def work():
        threads = DatabaseThreads(threads=1, answer_within_seconds=60)
        try:
            job = RefreshingOutdated(threads, requests_dir(settings.data_dir), clock)
            await job(msgspec.to_builtins(OutdatedRecord(at=clock.now(), **members)))
        finally:
            threads.close()

    asyncio.run(work())


def test_what_is_outdated_is_asked_anew_while_it_is_still_good(settings, team, kept, provider, clock):
    asked = [{**chat("one"), "sources": [PRICES]}, {**chat("two"), "tags": ["shop"]}, chat("three")]
    keys = fill(settings, team, clock, *asked)
    before, calls = look_up(settings, team, clock, *keys), provider.call_count
    assert refresh(settings, clock) == 0
    clock.move(60)
    mark(settings, clock, tenant_id=team.pk, sources=[PRICES + "#now"], tags=["shop"])
    assert refresh(settings, clock) == 2
    after = look_up(settings, team, clock, *keys)
    renewed = [new.meta.stored_at > old.meta.stored_at for new, old in zip(after, before, strict=True)]
    assert (renewed, provider.call_count - calls) == ([True, True, False], 2)
    assert refresh(settings, clock) == 0
    # Told twice, as jobs may be, it is found fresh: nothing is bought twice.
    KeptRequest.objects.filter(tags=["shop"]).update(refresh_at=aware(0), outdated_since=aware(clock.now() - 30))
    assert (refresh(settings, clock), provider.call_count - calls) == (1, 2)


def test_a_job_that_lacks_members_is_given_up(settings):
    job = RefreshingOutdated(DatabaseThreads(threads=1, answer_within_seconds=60), None, MovableClock())
    with pytest.raises(GiveUp):
        asyncio.run(job({"at": 1.0}))


def test_a_provider_that_fails_is_asked_again_later_and_not_for_ever(settings, team, kept, provider, clock):
    (key,) = fill(settings, team, clock, {**chat("one"), "tags": ["shop"]})
    clock.move(60)
    mark(settings, clock, tenant_id=team.pk, tags=["shop"])
    for failure in range(FAILURES_MAX):
        provider.script(status=400)
        assert refresh(settings, clock) == 1, failure
        assert refresh(settings, clock) == 0
        clock.move(60 * 2**failure + 1)
    assert (KeptRequest.objects.get().refresh_at, refresh(settings, clock)) == (None, 0)
    (entry,) = look_up(settings, team, clock, key)
    assert entry is not None


def test_what_a_killed_worker_had_in_hand_is_taken_again_after_its_lease(settings, team, kept, provider, clock):
    fill(settings, team, clock, {**chat("one"), "tags": ["shop"]})
    clock.move(60)
    mark(settings, clock, tenant_id=team.pk, tags=["shop"])
    now = aware(clock.now())
    ((taken,), _) = services.claim_due(current_secrets(), now, 16, encrypt_entries=False)
    assert services.claim_due(current_secrets(), now, 16, encrypt_entries=False) == ([], {})
    clock.move(LEASE.total_seconds() + 1)
    assert refresh(settings, clock) == 1
    # Too late, the first one changes nothing any more.
    services.note_failed(taken, now)
    assert KeptRequest.objects.get().refresh_failures == 0


def test_one_team_does_not_keep_the_others_waiting(settings, team, kept, clock):
    fill(settings, team, clock, *(chat(str(number)) for number in range(6)))
    KeptRequest.objects.update(refresh_at=aware(1))
    taken, _ = services.claim_due(current_secrets(), aware(clock.now()), 4, encrypt_entries=False)
    assert len(taken) == 2


def test_what_is_sealed_for_one_team_opens_for_no_other(settings, team, kept, clock):
    other = make_team("Red Foxes")
    fill(settings, team, clock, chat("one"), chat("two"))
    row = KeptRequest.objects.order_by("-pk").first()
    KeptRequest.objects.filter(pk=row.pk).update(team=other)
    KeptRequest.objects.update(refresh_at=aware(1))
    taken, _ = services.claim_due(current_secrets(), aware(clock.now()), 16, encrypt_entries=False)
    assert [one.team_id for one in taken] == [team.pk]


# What a policy refreshes ahead


def test_an_answer_in_use_is_refreshed_before_anybody_waits(settings, team, provider, clock):
    keep_credential(settings, team)
    add_policy(team, PRESETS["news"].draft, actor=Actor.system())
    used, unused = fill(settings, team, clock, chat("used"), chat("unused"))
    # Kept for that alone: the team has not asked to have its requests kept.
    assert KeptRequest.objects.filter(refresh_at__isnull=False).count() == 2
    clock.move(30 * 60)
    assert refresh(settings, clock) == 0
    (before,) = look_up(settings, team, clock, used)
    clock.move(16 * 60)
    calls = provider.call_count
    assert refresh(settings, clock) == 2
    assert provider.call_count - calls == 1
    after, left_alone = look_up(settings, team, clock, used, unused)
    assert after.meta.stored_at == pytest.approx(clock.now(), abs=30)
    assert left_alone.meta.stored_at == pytest.approx(before.meta.stored_at, abs=30)
    assert KeptRequest.objects.filter(refresh_at__isnull=False).count() == 1
    # Once nobody asks for it any more, it is refreshed no more either.
    clock.move(60)
    look_up(settings, team, clock, used)
    clock.move(45 * 60)
    assert (refresh(settings, clock), provider.call_count - calls) == (1, 2)
    clock.move(46 * 60)
    assert (refresh(settings, clock), provider.call_count - calls) == (1, 2)
    services.prune_kept(aware(clock.now()))
    assert not KeptRequest.objects.exists()


def test_without_its_policy_nothing_is_kept_for_it(settings, team, provider, clock):
    keep_credential(settings, team)
    add_policy(team, PRESETS["news"].draft, actor=Actor.system())
    fill(settings, team, clock, chat("one"))
    save_all(team, [], actor=Actor.system())
    fill(settings, team, clock, chat("two"))
    assert KeptRequest.objects.count() == 1
