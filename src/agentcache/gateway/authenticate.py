"""From an API key to a principal, remembering verdicts for seconds so that the database is off the hit path."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentcache.gateway.ports import Directory, Principal, Scope
from agentcache.kit.api_keys import is_well_formed
from agentcache.kit.clock import Clock
from agentcache.kit.errors import Forbidden, Unauthenticated, Unavailable

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


@dataclass(slots=True)
class _Verdict:
    principal: Principal | None
    checked_at: float
    refreshing: bool = False


class Authenticator:
    """Answers whose key this is; raises `InvalidAPIKey`, or `Unavailable` when nobody can tell."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        # By the whole key, never a part of it (CVE-2026-35030).
        self._verdicts: dict[str, _Verdict] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def authenticate(self, api_key: str) -> Principal:
        """Return the principal of a key. Keys with a wrong checksum never reach the database."""
        verdict = self._verdicts.get(api_key)
        if verdict is None:
            if not is_well_formed(api_key):
                raise InvalidAPIKey
            verdict = await self._check(api_key, None)
        else:
            age = self._clock.monotonic() - verdict.checked_at
            if age > VERDICT_SECONDS:
                verdict = await self._check(api_key, verdict)
            elif age > REFRESH_SECONDS and not verdict.refreshing:
                self._refresh_later(api_key, verdict)
        if verdict.principal is None:
            raise InvalidAPIKey
        return verdict.principal

    def forget(self) -> None:
        """Forget every verdict."""
        self._verdicts.clear()

    async def _check(self, api_key: str, known: _Verdict | None) -> _Verdict:
        try:
            principal = await self._directory.find_principal(api_key)
        except Unavailable:
            if known is not None and self._clock.monotonic() - known.checked_at <= VERDICT_SECONDS_MAX:
                return known
            raise
        verdict = _Verdict(principal, self._clock.monotonic())
        if len(self._verdicts) >= REMEMBERED_MAX:
            self._verdicts.clear()
        self._verdicts[api_key] = verdict
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


def require(principal: Principal, scope: Scope) -> None:
    """Raise `Forbidden` unless the principal has the scope (`admin` implies all)."""
    if scope not in principal.scopes and Scope.ADMIN not in principal.scopes:
        raise Forbidden(f"This key lacks the scope {scope.value}.", code="insufficient_scope")
