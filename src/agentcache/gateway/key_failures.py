"""A limit on keys that let nobody in, by address: whoever tries many is answered 429, and only for what fails.

Each serving process counts for itself, in a table of fixed size. Two addresses may share a place in it, and then share an
allowance of failures; a key that is valid is let in whatever the count says.
"""

from __future__ import annotations

from array import array
from math import ceil
from typing import Final

from agentcache.gateway.asgi_types import ASGIScope
from agentcache.gateway.authenticate import Authenticator, InvalidAPIKey
from agentcache.gateway.callers import Caller
from agentcache.gateway.ports import Principal
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.networks import caller_address, one_caller

#: 128 KiB of memory in each serving process.
PLACES: Final = 1 << 14
_MINUTE: Final = 60.0


class TooManyKeyFailures(AgentCacheError):
    """Too many calls with AgentCache keys that let nobody in came from this address."""

    code = "too_many_key_failures"
    status = 429
    may_pass = False


class KeyFailures:
    """Counts look-ups of keys that failed. An allowance of `per_minute` comes back evenly, one after the other."""

    def __init__(self, per_minute: int, clock: Clock, trusted_proxies: int = 0, places: int = PLACES) -> None:
        self._trusted_proxies = trusted_proxies
        self._step = _MINUTE / per_minute
        self._clock = clock
        #: For each place, when its allowance is whole again.
        self._whole_at = array("d", bytes(8 * places))

    def seconds_to_wait(self, address: str) -> float:
        """Count one failure from an address; return 0, or for how long it has had too many."""
        # Seeded anew in each process, so nobody can aim at another's place.
        place = hash(one_caller(address)) % len(self._whole_at)
        now = self._clock.monotonic()
        after = max(self._whole_at[place], now) + self._step
        if after - now > _MINUTE:
            return after - now - _MINUTE
        self._whole_at[place] = after
        return 0.0

    async def authenticate(self, authenticator: Authenticator, asgi_scope: ASGIScope, caller: Caller) -> Principal:
        """Return whose key a caller has; raise `InvalidAPIKey`, `TooManyKeyFailures` or `Unavailable`."""
        try:
            return await authenticator.authenticate(caller.api_key)
        except InvalidAPIKey as error:
            self.check(error, asgi_scope, caller)
            raise

    def check(self, error: InvalidAPIKey, asgi_scope: ASGIScope, caller: Caller) -> None:
        """Count a key that let nobody in; raise `TooManyKeyFailures` when its address has had too many."""
        peer = asgi_scope.get("client")
        forwarded_for = caller.headers.get("x-forwarded-for", "")
        wait = self.seconds_to_wait(caller_address(peer[0] if peer else "", forwarded_for, self._trusted_proxies))
        if wait > 0:
            refusal = TooManyKeyFailures(
                "Too many calls with AgentCache keys that let nobody in came from this address; calls with a valid key "
                f"are served as ever. This one: {error.message}"
            )
            refusal.headers = ((b"retry-after", b"%d" % max(1, ceil(wait))),)
            raise refusal from None
