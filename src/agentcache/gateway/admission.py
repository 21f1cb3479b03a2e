"""Whether a call may pass: rates, the month's requests and budgets of its team, member, key and agent.

A team without limits costs one look-up. Otherwise all limits of a call are charged in one step, or none: at once in a
file of this machine, in one exchange with Redis where workers are spread, and there a block of calls at a time while
no limit is near. Money is set aside when a call goes to a provider, and settled when its price is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.tallies import Ask, FileTally, Got, Kind, Tally, generation_of
from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.limit_errors import BudgetExceeded, LimitsUnavailable, PriceUnknown, QuotaExceeded, RateLimited
from agentcache.gateway.limit_headers import left_of, rate_headers
from agentcache.gateway.ports import Limit, LimitBook, Principal, TeamLimits, Use
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.kit.money import usd

#: Limits are read anew this often, in the background: a change is in force within it.
REFRESH_SECONDS = 5.0
#: Limits of a team that was silent for so long are read before its next call is let in: they may have changed since.
STALE_SECONDS = 2 * REFRESH_SECONDS
#: A block of calls taken from Redis at once is at most so many, and at most this share of what is left. Where that is
#: less than the least, each call asks: near a limit, what one worker has taken and not used would be missing elsewhere.
BLOCK_MAX = 32
BLOCK_MIN = 16
BLOCK_SHARE = 64
#: Calls taken ahead and not used by then are given back.
BLOCK_SECONDS = 1.0
#: When the shared counters cannot be asked, this machine's own stand in for so long.
LOCAL_SECONDS = 1.0
_TEAMS_MAX = 20_000
_SUBJECTS_MAX = 2_000

_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Pass:
    """What admission says of one call."""

    #: `RateLimit` headers for its answer.
    headers: HeaderList = field(default_factory=list)
    #: Why this call may be answered from the cache only.
    refusal: AgentCacheError | None = None
    budgets: tuple[tuple[Limit, Ask], ...] = ()
    #: The month's counts that it was charged to.
    counts: tuple[tuple[Limit, Ask], ...] = ()
    #: What was set aside for it, and in which generation.
    held: list[tuple[Ask, int]] = field(default_factory=list)


#: For calls that nothing limits.
FREE = Pass()


@dataclass(slots=True)
class _Subject:
    """The limits of one key, used by one agent."""

    counts: tuple[tuple[Limit, Ask], ...]
    rates: tuple[tuple[Limit, Ask], ...]
    budgets: tuple[tuple[Limit, Ask], ...]
    #: Calls that are paid for already, and when that was.
    prepaid: int = 0
    prepaid_at: float = 0.0
    is_taking: bool = False
    #: Whether the team was read anew: what is taken for it now, nobody would use.
    is_retired: bool = False
    headers: HeaderList = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether nothing limits it."""
        return not (self.counts or self.rates or self.budgets)

    @property
    def charged(self) -> tuple[tuple[Limit, Ask], ...]:
        """The limits that each call is charged to."""
        return self.rates + self.counts


@dataclass(slots=True)
class _Team:
    limits: TeamLimits
    read_at: float
    month_ends: float
    is_refreshing: bool = False
    subjects: dict[tuple[str, str], _Subject] = field(default_factory=dict)
    #: Where the shared counters stood when last seen.
    counted: dict[tuple[str, str], Use] = field(default_factory=dict)
    #: What of that the book has been told.
    told: Mapping[tuple[str, str], Use] = field(default_factory=dict)


class Admission:
    """Decides for every call of a worker. `local` are this machine's counters, `shared` those of all machines."""

    def __init__(
        self,
        book: LimitBook,
        local: FileTally,
        clock: Clock,
        *,
        shared: Tally | None = None,
        patience_seconds: float = 0.05,
    ) -> None:
        self._book = book
        self._local = local
        self._shared = shared
        self._clock = clock
        #: How long the shared counters may keep a call waiting.
        self._patience_seconds = patience_seconds
        self._teams: dict[str, _Team] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[str, asyncio.Task[_Team]] = {}
        self._shared_down_until = 0.0

    def admit(self, principal: Principal, agent: str) -> Pass | Coroutine[Any, Any, Pass]:
        """Let a call in or raise why not. What it returns is to be awaited unless it is a `Pass`."""
        team = self._teams.get(principal.tenant.id)
        if team is None or self._clock.now() >= team.month_ends:
            return self._admit_unknown(principal, agent)
        age = self._clock.monotonic() - team.read_at
        if age > REFRESH_SECONDS:
            if age > STALE_SECONDS:
                return self._admit_unknown(principal, agent)
            if not team.is_refreshing:
                self._refresh_later(principal.tenant.id, team)
        if not team.limits.limits:
            return FREE
        return self._admit_known(team, principal, agent)

    def admit_at_once(self, principal: Principal, agent: str) -> Pass | None:
        """Let a call in or raise why not; None, with nothing charged, when that takes waiting."""
        admitted = self.admit(principal, agent)
        if isinstance(admitted, Pass):
            return admitted
        # Not begun, so it has done nothing.
        admitted.close()
        return None

    async def before_upstream(self, admitted: Pass, estimate: Callable[[], int | None], asked: str) -> None:
        """Set aside what a provider's call may cost, or raise why it may not be made.

        `estimate` says 1e-9 USD, or None where no price is known; `asked` names what has the price.
        """
        if admitted.refusal is not None:
            raise admitted.refusal
        if not admitted.budgets:
            return
        most = estimate()
        if most == 0:
            return  # a budget that is used up has no say in what costs nothing
        if most is None:
            for limit, _ask in admitted.budgets:
                if not limit.allows_unknown_price:
                    raise PriceUnknown.of(limit, asked)
        wanted = max(1, most or 0)
        asks = [replace(ask, want=wanted) for _limit, ask in admitted.budgets]
        now = self._clock.now()
        got = await self._ask_for_money(asks, now)
        for (limit, ask), one in zip(admitted.budgets, got, strict=True):
            if one.granted == 0:
                raise BudgetExceeded.of(limit, one.value, _month_end(ask.period) - now)
        generation = generation_of(now)
        admitted.held += [(ask, generation) for ask in asks]

    async def hold_to_rates(self, principal: Principal, agent: str) -> HeaderList:
        """Charge a call that is no request of a month to its rates; return their headers, or raise `RateLimited`."""
        team = await self._team_of(principal.tenant.id)
        subject = self._subject(team, principal, agent)
        if not subject.rates:
            return []
        now = self._clock.now()
        asks = [ask for _limit, ask in subject.rates]
        if self._is_local:
            got = self._local.ask_now(asks, now)
        else:
            try:
                got = await self._ask_shared(asks, now)
            except LimitsUnavailable:
                got = self._local.ask_now(asks, now)
        self._judge(team, subject.rates, got, now)
        return rate_headers(subject.rates, got, now)

    def give_back(self, admitted: Pass) -> None:
        """Take off the month's counts a call that was let in and yet refused later. Never raises, never waits."""
        self.settle(admitted, 0)
        asks = [replace(ask, want=-1) for _limit, ask in admitted.counts]
        admitted.counts = ()
        if not asks:
            return
        if self._is_local:
            self._local.ask_now(asks, self._clock.now())
        else:
            self._later(self._return(asks))

    def settle(self, admitted: Pass, cost_usd_nanos: int) -> None:
        """Free what was set aside for a call, and count what it cost. Never raises, never waits."""
        held, admitted.held = admitted.held, []
        seen: set[str] = set()
        for ask, generation in held:
            # A call that asked its provider twice has one price.
            cost = 0 if ask.name in seen else cost_usd_nanos
            seen.add(ask.name)
            self._later(self._settle(ask, generation, cost))

    def forget(self, tenant_id: str) -> None:
        """Read a team's limits anew for its next call."""
        self._teams.pop(tenant_id, None)

    async def close(self) -> None:
        """Finish what is under way and give back what was taken ahead."""
        for team in self._teams.values():
            for subject in team.subjects.values():
                await self._give_back(subject)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._local.close()
        if self._shared is not None:
            await self._shared.close()

    async def _admit_unknown(self, principal: Principal, agent: str) -> Pass:
        team = await self._team_of(principal.tenant.id)
        if not team.limits.limits:
            return FREE
        admitted = self._admit_known(team, principal, agent)
        return admitted if isinstance(admitted, Pass) else await admitted

    def _admit_known(self, team: _Team, principal: Principal, agent: str) -> Pass | Coroutine[Any, Any, Pass]:
        subject = self._subject(team, principal, agent)
        if subject.is_free:
            return FREE
        if not subject.charged:
            return Pass(budgets=subject.budgets)
        if self._shared is None or self._is_local:
            return self._charge_here(team, subject)
        if subject.prepaid > 0 and self._clock.monotonic() - subject.prepaid_at <= BLOCK_SECONDS:
            subject.prepaid -= 1
            return Pass(subject.headers, budgets=subject.budgets, counts=subject.counts)
        return self._charge_shared(self._shared, team, subject)

    def _subject(self, team: _Team, principal: Principal, agent: str) -> _Subject:
        subject = team.subjects.get((principal.api_key_id, agent))
        if subject is None:
            subject = _subject_of(team, principal, agent)
            if len(team.subjects) >= _SUBJECTS_MAX:
                self._later(self._retire(team))
                team.subjects = {}
            team.subjects[principal.api_key_id, agent] = subject
        return subject

    @property
    def _is_local(self) -> bool:
        """Whether this machine's counters decide: there are no others, or they did not answer a moment ago."""
        return self._shared is None or self._clock.monotonic() < self._shared_down_until

    def _charge_here(self, team: _Team, subject: _Subject) -> Pass:
        now = self._clock.now()
        charged = subject.charged
        got = self._local.ask_now([ask for _limit, ask in charged], now)
        refusal = self._judge(team, charged, got, now)
        if refusal is not None and subject.rates:
            # Hits are still served, at the rate that is allowed.
            got = self._local.ask_now([ask for _limit, ask in subject.rates], now)
            self._judge(team, subject.rates, got, now)
        headers = rate_headers(subject.rates, got, now)
        return Pass(headers, refusal, subject.budgets, () if refusal is not None else subject.counts)

    async def _charge_shared(self, shared: Tally, team: _Team, subject: _Subject) -> Pass:
        now = self._clock.now()
        charged = subject.charged
        await self._give_back(subject)
        try:
            async with asyncio.timeout(self._patience_seconds):
                got = await shared.ask([ask for _limit, ask in charged], now)
                refusal = self._judge(team, charged, got, now)
                if refusal is not None and subject.rates:
                    got = await shared.ask([ask for _limit, ask in subject.rates], now)
                    self._judge(team, subject.rates, got, now)
                headers = rate_headers(subject.rates, got, now)
                if refusal is None:
                    await self._take_block(shared, subject, got, now, headers)
        except (StoreUnavailable, TimeoutError):
            self._note_outage()
            return self._charge_here(team, subject)
        return Pass(headers, refusal, subject.budgets, () if refusal is not None else subject.counts)

    async def _take_block(
        self, shared: Tally, subject: _Subject, got: list[Got], now: float, headers: HeaderList
    ) -> None:
        if subject.is_taking:
            return
        left = min(left_of(ask, one, now) for (_limit, ask), one in zip(subject.charged, got, strict=True))
        block = min(BLOCK_MAX, left // BLOCK_SHARE)
        if block < BLOCK_MIN:
            return
        subject.is_taking = True
        try:
            taken = await shared.ask([replace(ask, want=block) for _limit, ask in subject.charged], now)
        finally:
            subject.is_taking = False
        if all(one.granted for one in taken):
            subject.prepaid += block
            subject.prepaid_at, subject.headers = self._clock.monotonic(), headers
            self._later(self._return_unused(subject, subject.prepaid_at))
        if subject.is_retired:
            await self._give_back(subject)

    async def _return_unused(self, subject: _Subject, taken_at: float) -> None:
        """Give back what a key that fell silent had taken ahead, so that others can have it."""
        await asyncio.sleep(BLOCK_SECONDS)
        if subject.prepaid_at == taken_at:
            await self._give_back(subject)

    async def _retire(self, team: _Team) -> None:
        """Give back what was taken ahead under limits that are not in force any more."""
        subjects = list(team.subjects.values())
        for subject in subjects:
            subject.is_retired = True
        for subject in subjects:
            await self._give_back(subject)

    async def _give_back(self, subject: _Subject) -> None:
        unused, subject.prepaid = subject.prepaid, 0
        if unused == 0 or self._shared is None:
            return
        # Rates come back by themselves.
        asks = [replace(ask, want=-unused) for _limit, ask in subject.counts]
        if asks:
            await self._return(asks)

    async def _return(self, asks: list[Ask]) -> None:
        assert self._shared is not None
        try:
            await self._shared.ask(asks, self._clock.now())
        except StoreUnavailable:
            _log.warning("counted_not_returned", requests=-asks[0].want)

    def _judge(
        self, team: _Team, charged: tuple[tuple[Limit, Ask], ...], got: list[Got], now: float
    ) -> AgentCacheError | None:
        """Raise when the call may not pass; return why it may only be answered from the cache, if that is so."""
        refusal: QuotaExceeded | None = None
        for (limit, ask), one in zip(charged, got, strict=True):
            if ask.kind is Kind.RATE:
                if one.granted == 0:
                    raise RateLimited.of(limit, one.value, now)
                continue
            # A floor may be ahead of the limit; what is told is what was really counted.
            team.counted[limit.kind, limit.subject] = Use(one.value)
            if one.granted == 0 and refusal is None:
                refusal = QuotaExceeded.of(limit, one.value, _month_end(ask.period) - now)
                if team.told.get((limit.kind, limit.subject)) != Use(one.value) and not team.is_refreshing:
                    # Whoever is refused looks at the page next: it has to show the number that refuses.
                    self._refresh_later(ask.tenant_id, team)
        if refusal is not None and not team.limits.serves_hits_over_quota:
            raise refusal
        return refusal

    async def _ask_for_money(self, asks: list[Ask], now: float) -> list[Got]:
        return self._local.ask_now(asks, now) if self._shared is None else await self._ask_shared(asks, now)

    async def _ask_shared(self, asks: list[Ask], now: float) -> list[Got]:
        assert self._shared is not None
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await self._shared.ask(asks, now)
        except (StoreUnavailable, TimeoutError):
            self._note_outage()
            raise LimitsUnavailable from None

    async def _settle(self, ask: Ask, generation: int, cost: int) -> None:
        tally: Tally = self._shared or self._local
        try:
            await tally.settle(ask, generation, cost)
        except StoreUnavailable:
            # The record knows what was spent, and is read every few seconds.
            _log.warning("spending_not_counted", cost_usd=usd(cost))

    def _note_outage(self) -> None:
        if self._clock.monotonic() >= self._shared_down_until:
            _log.warning("limits_counted_locally", seconds=LOCAL_SECONDS)
        self._shared_down_until = self._clock.monotonic() + LOCAL_SECONDS

    async def _team_of(self, tenant_id: str) -> _Team:
        team = self._teams.get(tenant_id)
        if team is None or self._clock.now() >= team.month_ends:
            return await self._read_once(tenant_id)
        age = self._clock.monotonic() - team.read_at
        if age > STALE_SECONDS:
            try:
                async with asyncio.timeout(self._patience_seconds):
                    return await self._read_once(tenant_id)
            except (Unavailable, TimeoutError):
                # What was read last stays in force: neither more nor less than the team chose.
                team.read_at = self._clock.monotonic()
        elif age > REFRESH_SECONDS and not team.is_refreshing:
            self._refresh_later(tenant_id, team)
        return team

    async def _read(self, tenant_id: str) -> _Team:
        now = self._clock.now()
        month, ends = month_of(now)
        known = self._teams.get(tenant_id)
        counted = dict(known.counted) if known is not None and known.limits.month == month else {}
        limits = await self._book.limits_of(tenant_id, month, counted)
        team = _Team(limits, self._clock.monotonic(), ends, counted=dict(counted), told=dict(counted))
        if len(self._teams) >= _TEAMS_MAX:
            self._teams.clear()
        self._teams[tenant_id] = team
        if known is not None:
            await self._retire(known)
        return team

    async def _read_once(self, tenant_id: str) -> _Team:
        """Read a team's limits; callers that come meanwhile wait for the same answer, and are counted together."""
        reading = self._reading.get(tenant_id)
        if reading is None:
            reading = self._reading[tenant_id] = asyncio.ensure_future(self._read(tenant_id))
            reading.add_done_callback(lambda _done: self._reading.pop(tenant_id, None))
        return await asyncio.shield(reading)

    def _refresh_later(self, tenant_id: str, team: _Team) -> None:
        team.is_refreshing = True

        async def refresh() -> None:
            try:
                await self._read(tenant_id)
            except Unavailable:
                # What was read last stays in force: neither more nor less than the team chose.
                team.read_at, team.is_refreshing = self._clock.monotonic(), False

        self._later(refresh())

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def month_of(now: float) -> tuple[int, float]:
    """Return the calendar month of a time in UTC, as year * 100 + month, and when it ends."""
    at = datetime.fromtimestamp(now, UTC)
    month = at.year * 100 + at.month
    return month, _month_end(month)


def _month_end(month: int) -> float:
    year, number = divmod(month, 100)
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return following.timestamp()


def _subject_of(team: _Team, principal: Principal, agent: str) -> _Subject:
    names = {"team": "", "member": principal.user_id, "key": principal.api_key_id, "agent": agent}
    limits = [
        limit
        for limit in team.limits.limits
        if names.get(limit.kind) == limit.subject and (limit.subject or limit.kind == "team")
    ]
    tenant_id, month, used = principal.tenant.id, team.limits.month, team.limits.used
    counts, rates, budgets = [], [], []
    for limit in limits:
        name, use = f"{limit.kind}:{limit.subject}", used.get((limit.kind, limit.subject), Use())
        if limit.requests_per_minute is not None:
            rates.append((limit, Ask(Kind.RATE, tenant_id, f"{name}:rate", limit.requests_per_minute)))
        if limit.is_hard and limit.requests_per_month is not None:
            ask = Ask(Kind.COUNT, tenant_id, name, limit.requests_per_month, month, use.requests)
            counts.append((limit, ask))
        if limit.is_hard and limit.budget_usd_nanos_per_month is not None:
            budget = limit.budget_usd_nanos_per_month
            budgets.append((limit, Ask(Kind.HOLD, tenant_id, f"{name}:usd", budget, month, use.cost_usd_nanos)))
    return _Subject(tuple(counts), tuple(rates), tuple(budgets))
