"""Refused calls in the usage records: the first of its kind at once, what follows within seconds summed up.

Whoever is refused asks again, perhaps a thousand times a second. Each refused call is counted, but rows are few.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from agentcache.gateway.authenticate import AddressNotAllowed, MissingScope
from agentcache.gateway.limit_errors import BudgetExceeded, LimitsUnavailable, PriceUnknown, QuotaExceeded, RateLimited
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import UsageEvent
from agentcache.kit.errors import AgentCacheError

#: Code of a refusal -> what it tells people. A call that ends so was turned away: it is no request of a month.
REFUSALS: Final = {
    RateLimited.code: "More requests within a minute than a limit allows.",
    QuotaExceeded.code: "The month's requests were used up.",
    BudgetExceeded.code: "The rest of the month's budget did not cover the call.",
    PriceUnknown.code: "A hard budget is set, and the price of the call was not known.",
    LimitsUnavailable.code: "A hard budget is set, and what was left of it could not be told.",
    MissingScope.code: "The API key lacks the scope that the call needs.",
    AddressNotAllowed.code: "The API key may not be used from the caller's address.",
}
#: Refused calls that are alike become one row each so often.
WINDOW_SECONDS: Final = 15.0
#: Beyond so many kinds a key's refused calls are told apart by their reason alone: callers choose agents and models.
KINDS_PER_KEY_MAX: Final = 8
#: Beyond so many kinds all are handed on and forgotten; that many keys at once are no flood by one caller.
KINDS_MAX: Final = 2_000


def is_refusal(error: AgentCacheError) -> bool:
    """Say whether an error turned a call away at the door, before the cache or a provider was asked."""
    return error.code in REFUSALS


@dataclass(slots=True)
class _Kind:
    #: The last of the calls that no row stands for yet.
    last: UsageEvent
    requests: int = 0


class Refusals:
    """Hands refused calls on to the meter, many as one. Memory and rows are bounded, whatever callers do."""

    def __init__(self, meter: Meter, window_seconds: float = WINDOW_SECONDS) -> None:
        self._meter = meter
        self._window_seconds = window_seconds
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._kinds_of_key: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def record(self, event: UsageEvent) -> None:
        """Record one refused call. Never raises, never waits."""
        known = self._kinds.get(_kind_of(event))
        if known is None and self._kinds_of_key.get(event.api_key_id, 0) >= KINDS_PER_KEY_MAX:
            event = msgspec.structs.replace(event, endpoint="", model="", namespace="", agent="")
            known = self._kinds.get(_kind_of(event))
        if known is not None:
            known.last = event
            known.requests += 1
            self._meter.count_refused(event)
            return
        if len(self._kinds) >= KINDS_MAX:
            self.hand_on()
        self._kinds[_kind_of(event)] = _Kind(event)
        self._kinds_of_key[event.api_key_id] = self._kinds_of_key.get(event.api_key_id, 0) + 1
        self._meter.record(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window_seconds, self._end_window)

    def hand_on(self) -> None:
        """Make rows of what was summed up, and begin anew."""
        for kind in self._kinds.values():
            if kind.requests:
                self._meter.keep(msgspec.structs.replace(kind.last, requests=kind.requests))
        self._kinds.clear()
        self._kinds_of_key.clear()

    def close(self) -> None:
        """Hand on what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.hand_on()

    def _end_window(self) -> None:
        self._timer = None
        going_on = [kind.last for kind in self._kinds.values() if kind.requests]
        self.hand_on()
        # What goes on stays summed up; the first of what had stopped will be a row at once again.
        for event in going_on:
            self._kinds[_kind_of(event)] = _Kind(event)
            self._kinds_of_key[event.api_key_id] = self._kinds_of_key.get(event.api_key_id, 0) + 1
        if going_on:
            self._timer = asyncio.get_running_loop().call_later(self._window_seconds, self._end_window)


def _kind_of(event: UsageEvent) -> tuple[object, ...]:
    return (
        event.api_key_id,
        event.dialect,
        event.endpoint,
        event.model,
        event.namespace,
        event.agent,
        event.status,
        event.reason,
    )
