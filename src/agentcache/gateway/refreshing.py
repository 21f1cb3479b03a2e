"""Asking for an answer anew behind a caller that was served a stale one (RFC 5861, 3).

A refresh is an ordinary flight that nobody has to read: it uses the caller's own request and credential, which are kept
for just as long as it takes, and whoever insists on a new answer meanwhile joins it. There is one for a key at a time,
over all workers. One that fails leaves the old answer where it is and is not tried again for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agentcache.engine.stores.port import LeaderLost, Put, StoreUnavailable
from agentcache.gateway.admission import FREE, Pass
from agentcache.gateway.fills import AnswerFlight, Fill, flight_name, leader, replay_stored
from agentcache.gateway.ports import Outcome
from agentcache.gateway.shared_flights import BUDGETS_PER_CLAIM, NoMirror, claim
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.ids import new_id

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call

#: How many refreshes one worker has under way. Beyond it stale answers are served all the same.
RUNNING_MAX: Final = 64
#: After a failure the next try waits so long: doubled with each failure, up to the most.
REST_SECONDS: Final = 5.0
REST_SECONDS_MAX: Final = 300.0
#: Another worker refreshes this key; look again no sooner than this.
ELSEWHERE_SECONDS: Final = 1.0
_RESTING_MAX: Final = 4096
#: Statuses that speak of the provider's state and not of the caller's request or credential.
_PROVIDERS_OWN: Final = frozenset({408, 429})
_FIRST_SERVER_ERROR: Final = 500
_FIRST_REFUSAL: Final = 400


class Refreshes:
    """The refreshes of one worker. Lives on the event loop; `begin` never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Keys that are being refreshed, and by how many refreshes: one of a batch of embeddings has many keys.
        self._running: set[bytes] = set()
        self._under_way = 0
        #: Whose refresh waits -> (until when, for how long). By key, or by key and API key where that one is to blame.
        self._resting: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self.started = 0

    def begin(self, call: Call) -> str:
        """Refresh the entry of `call` in the background, once; say what becomes of it, in a word for the caller."""
        if call.mark is None or not self.may_begin(call):
            return "none"
        if word := self.standing(call, call.key):
            return word
        if not self.has_room:
            return "none"
        own = own_call(call)
        flight, leads = call.parts.flights.join(flight_name(own), _lead(own))
        if not leads:
            return "running"
        self.note_begun([call.key])
        flight.when_ended(lambda: self._end(own, flight))
        return "started"

    def may_begin(self, call: Call) -> bool:
        """Say whether a call may refresh what it was served."""
        return (
            call.may_write
            and call.caller.has_provider_credential
            and not call.directives.only_if_cached
            and call.admitted.refusal is None
        )

    @property
    def has_room(self) -> bool:
        """Say whether this worker takes one more."""
        return self._under_way < RUNNING_MAX

    def standing(self, call: Call, key: bytes) -> str:
        """Return "running" or "waiting" for a key that is not to be refreshed now, else ""."""
        if key in self._running:
            return "running"
        return "waiting" if self._rests(key) or self._rests(_with_key(call, key)) else ""

    def note_begun(self, keys: Collection[bytes]) -> None:
        """Note that one refresh of some keys is under way."""
        self.started += 1
        self._under_way += 1
        self._running.update(keys)

    def note_over(self, keys: Collection[bytes]) -> None:
        """Note that it is over, whatever came of it."""
        self._under_way -= 1
        self._running.difference_update(keys)

    def note_elsewhere(self, key: bytes) -> None:
        """Note that another worker asks for a key, or has asked."""
        self._keep_resting(key, ELSEWHERE_SECONDS, 0.0)

    def note_outcome(self, call: Call, key: bytes, put: str, status: int) -> None:
        """Note what came of a key: what its answer was stored as, and the provider's status, 0 for none."""
        if put in (Put.STORED.value, Put.SUPERSEDED.value):
            self._resting.pop(key, None)
            self._resting.pop(_with_key(call, key), None)
            return
        is_providers = status >= _FIRST_SERVER_ERROR or status in _PROVIDERS_OWN or status < _FIRST_REFUSAL
        self._rest(key if is_providers else _with_key(call, key))

    def _rests(self, name: bytes) -> bool:
        found = self._resting.get(name)
        return found is not None and self._clock.monotonic() < found[0]

    def _rest(self, name: bytes) -> None:
        _, last = self._resting.pop(name, (0.0, 0.0))
        seconds = min(max(REST_SECONDS, last * 2), REST_SECONDS_MAX)
        self._keep_resting(name, seconds, seconds)

    def _keep_resting(self, name: bytes, seconds: float, counted: float) -> None:
        if len(self._resting) >= _RESTING_MAX:
            self._resting.popitem(last=False)
        self._resting[name] = (self._clock.monotonic() + seconds, counted)

    def _end(self, call: Call, flight: AnswerFlight) -> None:
        self.note_over([call.key])
        if flight.led_elsewhere:
            # Its event tells of the call.
            self.note_elsewhere(call.key)
            return
        fill: Fill | None = flight.result
        status = flight.error.status if flight.error is not None else flight.head.status if flight.head else 0
        self.note_outcome(call, call.key, fill.put if fill is not None else "", status)
        _record(call, fill, flight.error, status)


def _with_key(call: Call, key: bytes) -> bytes:
    return key + call.principal.api_key_id.encode()


def own_call(call: Call) -> Call:
    """Return the refresh as a call of its own: with the caller's request, and without the caller's answer."""
    admitted = call.admitted
    return replace(
        call,
        request_id=f"{call.request_id}-{new_id()[-6:]}",
        is_recorded=False,
        detail="",
        # No request of anybody's month, but money all the same.
        admitted=admitted if admitted is FREE else Pass(budgets=admitted.budgets),
    )


def claim_name(key: bytes) -> str:
    """Name what a worker claims on the board before it refreshes a key."""
    return key.hex() + "-refresh"


def _lead(call: Call) -> Callable[[AnswerFlight], Coroutine[Any, Any, None]]:
    """Return what leads the refresh's flight."""

    async def lead(flight: AnswerFlight) -> None:
        parts = call.parts
        if not parts.is_shared:
            # It may have been refreshed between the look-up and now.
            if not await replay_stored(flight, call, NoMirror()):
                await leader(call, shared=False)(flight)
            return
        name = claim_name(call.key)
        try:
            token = await claim(parts.board, name, BUDGETS_PER_CLAIM * parts.settings.store_budget_ms / 1000)
        except StoreUnavailable:
            await leader(call, shared=True)(flight)
            return
        if token is None:
            # Whoever joined this flight meanwhile tries again, and then shares the other worker's.
            flight.led_elsewhere = True
            raise LeaderLost
        try:
            await leader(call, shared=True)(flight)
        finally:
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(parts.board.finish(name, token))

    return lead


def _record(call: Call, fill: Fill | None, error: AgentCacheError | None, status: int) -> None:
    usage = fill.usage if fill is not None else None
    reason = "" if fill is not None and fill.stored else error.code if error is not None else fill.put if fill else ""
    call.record(
        Outcome.REFRESH,
        status,
        input_tokens=usage.input_tokens if usage is not None else 0,
        output_tokens=usage.output_tokens if usage is not None else 0,
        cost_usd_nanos=fill.cost_usd_nanos if fill is not None else 0,
        upstream_us=fill.upstream_us if fill is not None else 0,
        reason=f"stale; {reason}" if reason else "stale",
    )
