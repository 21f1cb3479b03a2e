"""From an API key to a principal, remembering verdicts for seconds so that the database is off the hit path."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentcache.gateway.asgi_types import ASGIScope
from agentcache.gateway.callers import Caller
from agentcache.gateway.ports import Directory, Principal, Refusal, Scope
from agentcache.kit.api_keys import is_well_formed
from agentcache.kit.clock import Clock
from agentcache.kit.errors import Forbidden, Unauthenticated, Unavailable
from agentcache.kit.networks import caller_address

#: A verdict younger than this is used as it is; an older one is checked again in the background.
REFRESH_SECONDS = 2.0
#: A verdict older than this is checked before it is used: revocation is effective within this time.
VERDICT_SECONDS = 5.0
#: How long a verdict stands in when the database cannot answer; after it, closed.
VERDICT_SECONDS_MAX = 30.0
REMEMBERED_MAX = 10_000


class InvalidAPIKey(Unauthenticated):
    """The AgentCache key is not valid."""

    code = "invalid_agentcache_key"


class RevokedKey(InvalidAPIKey):
    """This AgentCache key was revoked; create another one."""

    code = "revoked_key"


class RotatedKey(InvalidAPIKey):
    """This AgentCache key was rotated and its time of overlap is over; use the key that took its place."""

    code = "rotated_key"


class ExpiredKey(InvalidAPIKey):
    """This AgentCache key has expired; create another one, or give it a later expiry."""

    code = "expired_key"


class InactiveKey(InvalidAPIKey):
    """The member whose AgentCache key this is cannot act for the team any more; use another key."""

    code = "inactive_key"


class MissingScope(Forbidden):
    """This key lacks a scope that the call needs."""

    code = "insufficient_scope"


class AddressNotAllowed(Forbidden):
    """This key may not be used from this address."""

    code = "address_not_allowed"


REFUSALS = {
    Refusal.REVOKED: RevokedKey,
    Refusal.ROTATED: RotatedKey,
    Refusal.EXPIRED: ExpiredKey,
    Refusal.INACTIVE: InactiveKey,
}


@dataclass(slots=True)
class _Verdict:
    principal: Principal | Refusal | None
    checked_at: float
    refreshing: bool = False


class Authenticator:
    """Answers whose key this is; raises `InvalidAPIKey`, or `Unavailable` when nobody can tell."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        # By the whole key, never a part of it (CVE-2026-35030).
        self._verdicts: dict[str, _Verdict] = {}
        #: Keys that let nobody in, apart: however many are tried, none pushes out a key that does.
        self._failing: dict[str, _Verdict] = {}
        #: Keys that this worker does not know are looked up one at a time, so that a flood of them leaves the database
        #: to those it knows.
        self._unknown = asyncio.Semaphore(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def authenticate(self, api_key: str) -> Principal:
        """Return the principal of a key. Keys with a wrong checksum never reach the database."""
        verdict = self._verdicts.get(api_key)
        if verdict is None:
            verdict = await self._check_unknown(api_key)
        else:
            age = self._clock.monotonic() - verdict.checked_at
            if age > VERDICT_SECONDS:
                verdict = await self._check(api_key, verdict)
            elif age > REFRESH_SECONDS and not verdict.refreshing:
                self._refresh_later(api_key, verdict)
        principal = verdict.principal
        if isinstance(principal, Principal):
            return principal
        raise InvalidAPIKey if principal is None else REFUSALS[principal]

    def recent(self, api_key: str) -> Principal | Refusal | None:
        """Return what is known of a key without asking anybody; None when it has to be checked, now or soon."""
        verdict = self._verdicts.get(api_key)
        if verdict is None or self._clock.monotonic() - verdict.checked_at > REFRESH_SECONDS:
            return None
        return verdict.principal

    def forget(self) -> None:
        """Forget every verdict."""
        self._verdicts.clear()
        self._failing.clear()

    async def _check_unknown(self, api_key: str) -> _Verdict:
        if not is_well_formed(api_key):
            raise InvalidAPIKey
        failing = self._failing.get(api_key)
        if failing is not None and self._clock.monotonic() - failing.checked_at <= VERDICT_SECONDS:
            return failing
        async with self._unknown:
            # Others may have asked for the same key while this call waited its turn.
            verdict = self._verdicts.get(api_key)
            return verdict if verdict is not None else await self._check(api_key, None)

    async def _check(self, api_key: str, known: _Verdict | None) -> _Verdict:
        try:
            principal = await self._directory.find_principal(api_key)
        except Unavailable:
            if known is not None and self._clock.monotonic() - known.checked_at <= VERDICT_SECONDS_MAX:
                return known
            raise
        if known is not None and principal == known.principal:
            # The same object, for what others remember of it.
            principal = known.principal
        verdict = _Verdict(principal, self._clock.monotonic())
        lets_in = isinstance(principal, Principal)
        remembered = self._verdicts if lets_in else self._failing
        if not lets_in:
            self._verdicts.pop(api_key, None)
        if len(remembered) >= REMEMBERED_MAX:
            remembered.clear()
        remembered[api_key] = verdict
        return verdict

    def _refresh_later(self, api_key: str, verdict: _Verdict) -> None:
        verdict.refreshing = True

        async def refresh() -> None:
            try:
                await self._check(api_key, verdict)
            except Unavailable:
                pass  # the verdict in hand still stands; the caller that needs a new one hears of it
            finally:
                verdict.refreshing = False

        task = asyncio.get_running_loop().create_task(refresh())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def require_address(principal: Principal, asgi_scope: ASGIScope, caller: Caller, trusted_proxies: int) -> None:
    """Raise `AddressNotAllowed` unless the caller is where the key may be used; to be asked before anything else."""
    if principal.networks is None:
        return
    peer = asgi_scope.get("client")
    address = caller_address(peer[0] if peer else "", caller.headers.get("x-forwarded-for", ""), trusted_proxies)
    if not principal.networks.covers(address):
        raise AddressNotAllowed(f"This key may not be used from {address or 'an unknown address'}.")


def require(principal: Principal, scope: Scope) -> None:
    """Raise `Forbidden` unless the principal has the scope (`admin` implies all)."""
    if scope not in principal.scopes and Scope.ADMIN not in principal.scopes:
        raise MissingScope(f"This key lacks the scope {scope.value}.")
