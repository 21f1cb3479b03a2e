"""Asking providers for requests of a team: alone or many in a call, at their pace, and again what passes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from agentcache.gateway.embeddings import shares
from agentcache.gateway.inside import Inside, InsideRequest, Standing, Told
from agentcache.gateway.ports import Principal
from agentcache.kit.clock import Clock
from agentcache.kit.egress.retry_after import retry_after_seconds
from agentcache.kit.errors import AgentCacheError
from agentcache.prewarm.items import ABOUT_AN_ITEM, joined

#: The longest pause that a provider may ask for.
PAUSE_SECONDS_MAX: Final = 60.0
#: Statuses, of the provider or of a rate of ours, that pass by themselves.
_PASSING: Final = frozenset({429, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class ReadyRequest:
    """A request that is to be made."""

    row_id: int
    request: InsideRequest
    standing: Standing
    #: Unix seconds; an answer stored before is not good enough.
    outdated_since: float | None = None


#: A request and what became of it; None where its answer has become fresh in the meantime.
Asked: TypeAlias = tuple[ReadyRequest, Told | None]


@dataclass(slots=True)
class Pace:
    """Spreads calls evenly over time."""

    rate_per_second: float | None
    clock: Clock
    _next_at: float = 0.0

    async def wait(self) -> None:
        """Return when it is this call's turn."""
        if self.rate_per_second is None:
            return
        now = self.clock.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + 1 / self.rate_per_second
        if at > now:
            await asyncio.sleep(at - now)


@dataclass(slots=True)
class Asking:
    """Asks for one team, at one pace."""

    inside: Inside
    principal: Principal
    #: Provider -> credential. Never logged.
    credentials: Mapping[str, str]
    pace: Pace
    again_after_seconds: Sequence[float]
    clock: Clock
    #: Whether a refused call is taken apart to find the item that it was refused for.
    _takes_apart: bool = True

    def __repr__(self) -> str:
        return f"Asking({self.principal.tenant.id})"

    async def ask(self, members: Sequence[ReadyRequest], *, is_part: bool = False) -> list[Asked]:
        """Make one call for a request, or for items of embeddings that go together, and return what became of each."""
        if len(members) == 1:
            (one,) = members
            return [(one, await self._told(one.standing))]
        request, lengths = joined([one.request for one in members])
        standing = await self._standing(request, members)
        if standing is None:
            return await self._in_halves(members)
        if standing.is_fresh:
            return [(one, None) for one in members]
        told = await self._told(standing)
        if told.status in ABOUT_AN_ITEM and (is_part or self._takes_apart):
            found = await self._in_halves(members)
            if not is_part and not any(told is None or told.is_answered for _, told in found):
                # It was not about an item, and the next refusal will not be either.
                self._takes_apart = False
            return found
        may_have_cost = told.may_have_cost and not told.cost_usd_nanos
        costs = shares(told.cost_usd_nanos, lengths)
        parts = [replace(told, cost_usd_nanos=cost, may_have_cost=may_have_cost) for cost in costs]
        return [(one, await self._of_item(one, part)) for one, part in zip(members, parts, strict=True)]

    async def _standing(self, request: InsideRequest, members: Sequence[ReadyRequest]) -> Standing | None:
        """Return how the items stand together; None where a policy makes of them together what it makes of none alone."""
        since = max((one.outdated_since for one in members if one.outdated_since is not None), default=None)
        credential = self.credentials[request.dialect]
        try:
            standing = await self.inside.stand(self.principal, request, credential, outdated_since=since)
        except AgentCacheError:
            # Each was fit to be asked alone, and is: what is wrong with them together is no member's failure.
            return None
        policies = {id(one.call.policy) for one in (standing, *(member.standing for member in members))}
        return None if standing.uncacheable or len(policies) > 1 else standing

    async def _in_halves(self, members: Sequence[ReadyRequest]) -> list[Asked]:
        middle = len(members) // 2
        return [*await self.ask(members[:middle], is_part=True), *await self.ask(members[middle:], is_part=True)]

    async def _of_item(self, one: ReadyRequest, told: Told) -> Told:
        """Return what a call's outcome is for one of its items."""
        if not (told.is_answered and told.reason):
            return told
        # Some item of the call was not stored; whether it was this one is seen by looking.
        standing = await self.inside.stand(self.principal, one.request, self.credentials[one.request.dialect])
        return replace(told, reason="") if standing.is_fresh else told

    async def _told(self, standing: Standing) -> Told:
        """Ask, and ask again what passes by itself."""
        for pause in self.again_after_seconds:
            await self.pace.wait()
            told = await self.inside.ask(standing)
            if told.status not in _PASSING or told.may_have_cost:
                return told
            await asyncio.sleep(_pause(pause, retry_after_seconds(told.retry_after, self.clock.now())))
        await self.pace.wait()
        return await self.inside.ask(standing)


def _pause(pause: float, asked: float | None) -> float:
    return pause if asked is None else min(max(pause, asked), PAUSE_SECONDS_MAX)
