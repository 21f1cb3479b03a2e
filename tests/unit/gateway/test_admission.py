from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.tallies import Ask, FileTally, Kind
from agentcache.gateway import admission as admission_module
from agentcache.gateway.admission import FREE, REFRESH_SECONDS, Admission, Pass, month_of
from agentcache.gateway.limit_errors import BudgetExceeded, LimitsUnavailable, PriceUnknown, QuotaExceeded, RateLimited
from agentcache.gateway.ports import Limit, Principal, TeamLimits, Use
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import Unavailable
from tests.support.entries import make_tenant

#: 30 November 2026, 23:59:50 UTC.
LAST_SECONDS = 1_796_083_190.0


@dataclass
class Book:
    """Limits in memory."""

    limits: tuple[Limit, ...] = ()
    serves_hits: bool = True
    used: dict = field(default_factory=dict)
    is_up: bool = True
    reads: int = 0
    told: list = field(default_factory=list)

    async def limits_of(self, tenant_id, month, counted):
        if not self.is_up:
            raise Unavailable
        self.reads += 1
        self.told.append(dict(counted))
        return TeamLimits(self.limits, self.serves_hits, month, self.used)


class GoneTally:
    """Redis, when it is away."""

    asked = 0

    async def ask(self, asks, now):
        self.asked += 1
        raise StoreUnavailable

    async def settle(self, ask, generation, cost):
        raise StoreUnavailable

    async def close(self):
        pass


class Door:
    """An admission on a loop of its own, asked as the gateway asks it."""

    def __init__(self, folder, book, clock, shared=None):
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(book, FileTally(folder / "limits.tally"), clock, shared=shared)

    def admit(self, key="key_1", user="user_1", agent="", team="team_a") -> Pass:
        principal = Principal(make_tenant(team), key, frozenset(), user_id=user)

        async def work():
            found = self.admission.admit(principal, agent)
            found = found if isinstance(found, Pass) else await found
            await asyncio.sleep(0)
            return found

        return self.loop.run_until_complete(work())

    def settle(self, admitted, cost):
        async def work():
            self.admission.settle(admitted, cost)
            await asyncio.sleep(0.01)

        self.loop.run_until_complete(work())

    def hold(self, admitted, estimate):
        self.loop.run_until_complete(self.admission.before_upstream(admitted, lambda: estimate, '"acme/homemade"'))


@pytest.fixture
def clock():
    return ManualClock(LAST_SECONDS)


@pytest.fixture
def door(tmp_path, clock):
    doors = []

    def make(*limits, serves_hits=True, shared=None, **used):
        book = Book(limits, serves_hits, {("team", ""): Use(**used)} if used else {})
        doors.append(Door(tmp_path, book, clock, shared))
        doors[-1].book = book
        return doors[-1]

    yield make
    for each in doors:
        each.loop.run_until_complete(each.admission.close())
        each.loop.close()


def test_a_team_without_limits_passes_for_free(door):
    free = door()
    assert [free.admit() for _ in range(3)] == [FREE] * 3
    assert free.book.reads == 1


def test_a_hard_quota_stops_at_its_number_and_serves_hits_if_the_team_wants(door):
    team = door(Limit("team", "", requests_per_month=3))
    assert [team.admit().refusal for _ in range(3)] == [None] * 3
    refusal = team.admit().refusal
    assert isinstance(refusal, QuotaExceeded)
    assert "3 of the 3 requests a month for this team are used" in refusal.message
    with pytest.raises(QuotaExceeded):
        team.hold(Pass(refusal=refusal), 1)


def test_a_hard_quota_stops_hits_too_when_the_team_wants_that(door):
    team = door(Limit("team", "", requests_per_month=1), serves_hits=False)
    team.admit()
    with pytest.raises(QuotaExceeded):
        team.admit()


def test_a_soft_quota_refuses_nothing(door):
    team = door(Limit("team", "", requests_per_month=1, is_hard=False))
    assert [team.admit() for _ in range(5)] == [FREE] * 5


def test_the_month_turns_at_midnight_utc(door, clock):
    team = door(Limit("team", "", requests_per_month=1), serves_hits=False)
    team.admit()
    with pytest.raises(QuotaExceeded) as caught:
        team.admit()
    assert dict(caught.value.headers)[b"retry-after"] == b"10"
    clock.move(9.9)
    with pytest.raises(QuotaExceeded):
        team.admit()
    clock.move(0.2)
    assert team.admit().refusal is None
    assert month_of(clock.now())[0] == 202612


def test_each_limit_binds_only_whom_it_names(door):
    team = door(
        Limit("key", "key_1", requests_per_month=1),
        Limit("member", "user_2", requests_per_month=1),
        Limit("agent", "crawler", requests_per_month=1),
        serves_hits=False,
    )
    team.admit("key_1")
    team.admit("key_2", "user_2")
    team.admit("key_3", "user_3", agent="crawler")
    for refused in (("key_1", "user_9", ""), ("key_9", "user_2", ""), ("key_9", "user_9", "crawler")):
        with pytest.raises(QuotaExceeded):
            team.admit(*refused)
    assert team.admit("key_9", "user_9", "other") is FREE


def test_what_is_recorded_counts_after_the_counters_were_lost(door):
    team = door(Limit("team", "", requests_per_month=100), serves_hits=False, requests=99)
    team.admit()
    with pytest.raises(QuotaExceeded):
        team.admit()


def test_a_rate_says_what_is_left_and_when_to_come_back(door, clock):
    team = door(Limit("key", "key_1", requests_per_minute=6))
    headers = dict(team.admit().headers)
    assert headers[b"ratelimit-policy"] == b'"key";q=6;w=60'
    assert headers[b"ratelimit"] == b'"key";r=5;t=10'
    assert (headers[b"ratelimit-limit"], headers[b"ratelimit-remaining"]) == (b"6", b"5")
    for _ in range(5):
        team.admit()
    with pytest.raises(RateLimited) as caught:
        team.admit()
    headers = dict(caught.value.headers)
    assert (headers[b"retry-after"], headers[b"ratelimit-remaining"], headers[b"ratelimit-reset"]) == (
        b"10",
        b"0",
        b"60",
    )
    clock.move(int(headers[b"retry-after"]))
    team.admit()


def test_a_change_of_limits_is_in_force_within_seconds(door, clock):
    team = door(Limit("team", "", requests_per_month=1), serves_hits=False)
    team.admit()
    for _ in range(3):
        with pytest.raises(QuotaExceeded):
            team.admit()
    # The first refusal is told at once, further ones add nothing.
    assert team.book.told == [{}, {("team", ""): Use(1)}]
    team.book.limits = (Limit("team", "", requests_per_month=2),)
    with pytest.raises(QuotaExceeded):
        team.admit()
    clock._monotonic += REFRESH_SECONDS + 0.1
    with pytest.raises(QuotaExceeded):
        team.admit()  # begins to read anew
    assert team.admit().refusal is None


def test_limits_stay_in_force_while_the_database_is_away(door, clock):
    team = door(Limit("team", "", requests_per_month=2), serves_hits=False)
    team.admit()
    team.book.is_up = False
    clock._monotonic += 100
    team.admit()
    with pytest.raises(QuotaExceeded):
        team.admit()


def test_money_is_set_aside_before_it_is_spent(door):
    team = door(Limit("team", "", budget_usd_nanos_per_month=1_000))
    calls = [team.admit() for _ in range(3)]
    team.hold(calls[0], 400)
    team.hold(calls[1], 400)
    with pytest.raises(BudgetExceeded):
        team.hold(calls[2], 400)
    team.settle(calls[0], 150)
    team.hold(calls[2], 400)
    team.settle(calls[1], 600)
    team.settle(calls[2], 300)
    with pytest.raises(BudgetExceeded, match=r"0\.00000105 of the 0\.000001 USD a month"):
        team.hold(team.admit(), 1)


def test_a_hard_budget_stops_what_has_no_price_unless_it_lets_it_pass(door):
    team = door(Limit("team", "", budget_usd_nanos_per_month=1_000), Limit("key", "soft", is_hard=False))
    with pytest.raises(
        PriceUnknown, match=r'The price of "acme/homemade" is not known, and the budget of this team'
    ) as told:
        team.hold(team.admit(), None)
    assert (told.value.status, told.value.code, told.value.may_pass) == (403, "price_unknown", False)
    # Nothing is set aside for it.
    team.hold(team.admit(), 999)


def test_what_costs_nothing_passes_a_budget_that_is_used_up(door):
    team = door(Limit("team", "", budget_usd_nanos_per_month=1_000))
    all_of_it = team.admit()
    team.hold(all_of_it, 1_000)
    for _ in range(3):
        free = team.admit()
        team.hold(free, 0)
        team.settle(free, 0)
    team.settle(all_of_it, 1_000)
    team.hold(team.admit(), 0)
    with pytest.raises(BudgetExceeded):
        team.hold(team.admit(), 1)


def test_all_budgets_of_a_call_must_let_an_unknown_price_pass(door):
    lenient = Limit("team", "", budget_usd_nanos_per_month=1_000, allows_unknown_price=True)
    team = door(lenient, Limit("key", "key_2", budget_usd_nanos_per_month=1_000))
    team.hold(team.admit("key_1"), None)
    with pytest.raises(PriceUnknown, match="this API key"):
        team.hold(team.admit("key_2"), None)


def test_a_soft_budget_lets_an_unknown_price_pass(door):
    team = door(Limit("team", "", budget_usd_nanos_per_month=1_000, is_hard=False))
    team.hold(team.admit(), None)


def test_without_redis_rates_and_quotas_are_held_by_the_machine_and_money_is_not_spent(door, clock):
    gone = GoneTally()
    team = door(
        Limit("team", "", requests_per_month=4, budget_usd_nanos_per_month=1_000),
        Limit("key", "key_1", requests_per_minute=2),
        serves_hits=False,
        shared=gone,
    )
    admitted = team.admit()
    with pytest.raises(LimitsUnavailable):
        team.hold(admitted, 1)
    team.admit()
    with pytest.raises(RateLimited):
        team.admit()
    team.admit("key_2")
    team.admit("key_2")
    with pytest.raises(QuotaExceeded):
        team.admit("key_2")
    assert gone.asked == 2, "while Redis is away, calls do not wait for it"


class SlowBook(Book):
    """Limits in a database: reading them takes a moment, in which others come."""

    async def limits_of(self, tenant_id, month, counted):
        await asyncio.sleep(0.002)
        return await super().limits_of(tenant_id, month, counted)


class SlowTally(FileTally):
    """Counters of several machines: each answer takes a moment, in which others come."""

    async def ask(self, asks, now):
        await asyncio.sleep(0.001)
        return self.ask_now(asks, now)


async def admitted(admission, number):
    principal = Principal(make_tenant("team_a"), "key_1", frozenset(), user_id="user_1")

    async def one():
        found = admission.admit(principal, "")
        return (found if isinstance(found, Pass) else await found).refusal is None

    return sum(await asyncio.gather(*(one() for _ in range(number))))


@pytest.mark.parametrize("at_once", [1, 24, 400], ids=["one by one", "some at once", "all at once"])
async def test_shared_counters_let_exactly_the_quota_through_however_calls_come(tmp_path, clock, at_once):
    shared = SlowTally(tmp_path / "shared.tally")
    book = SlowBook((Limit("team", "", requests_per_month=300),))
    # Patient: on a busy machine a question that is merely late must not be counted elsewhere.
    workers = [
        Admission(book, FileTally(tmp_path / "limits.tally"), clock, shared=shared, patience_seconds=30.0)
        for _ in range(2)
    ]
    through = 0
    for _ in range(800 // (2 * at_once)):
        through += sum(await asyncio.gather(*(admitted(worker, at_once) for worker in workers)))
    assert through == 300
    for worker in workers:
        await worker.close()


async def test_callers_that_come_together_wait_for_one_reading(tmp_path, clock):
    book = SlowBook((Limit("team", "", requests_per_month=300),))
    shared = SlowTally(tmp_path / "s.tally")
    admission = Admission(book, FileTally(tmp_path / "l.tally"), clock, shared=shared, patience_seconds=30.0)
    assert await admitted(admission, 24) == 24
    assert book.reads == 1
    await admission.close()


async def test_what_a_silent_key_took_ahead_comes_back(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(admission_module, "BLOCK_SECONDS", 0.02)
    shared = SlowTally(tmp_path / "s.tally")
    book = SlowBook((Limit("team", "", requests_per_month=10_000),))
    admission = Admission(book, FileTally(tmp_path / "l.tally"), clock, shared=shared, patience_seconds=30.0)
    assert await admitted(admission, 1) == 1
    count = Ask(Kind.COUNT, "team_a", "team:", 10_000, month_of(clock.now())[0], want=0)
    assert shared.ask_now([count], clock.now())[0].value > 1, "a block was taken"
    async with asyncio.timeout(60):
        while shared.ask_now([count], clock.now())[0].value != 1:
            await asyncio.sleep(0.01)
    await admission.close()


def admit_at_once(door):
    async def work():
        return door.admission.admit_at_once(Principal(make_tenant("team_a"), "key_1", frozenset()), "")

    return door.loop.run_until_complete(work())


def test_what_takes_waiting_is_not_decided_at_once_and_charges_nothing(door):
    team = door(Limit("team", "", requests_per_month=3))
    assert admit_at_once(team) is None, "the limits are not read yet"
    assert team.admit().refusal is None
    assert admit_at_once(team).refusal is None
    assert team.admit().refusal is None
    assert isinstance(admit_at_once(team).refusal, QuotaExceeded), "hits are served beyond it"


def test_what_is_refused_is_refused_at_once(door):
    team = door(Limit("team", "", requests_per_month=1), serves_hits=False)
    team.admit()
    with pytest.raises(QuotaExceeded):
        admit_at_once(team)


def test_a_team_that_was_silent_is_held_to_what_was_set_meanwhile(door, clock):
    # Into the next month, which does not end while this lasts.
    clock.move(60)
    silent = door()
    assert silent.admit() is FREE
    silent.book.limits = (Limit("team", "", requests_per_month=1),)
    silent.book.serves_hits = False
    clock.move(2 * REFRESH_SECONDS + 0.1)
    silent.admit()
    with pytest.raises(QuotaExceeded):
        silent.admit()
