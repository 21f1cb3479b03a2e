"""Verdicts on keys: strict, remembered for seconds, closed when nobody can tell (A9, A17)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agentcache.engine.entries import Tenant
from agentcache.gateway import authenticate
from agentcache.gateway.authenticate import (
    REFRESH_SECONDS,
    VERDICT_SECONDS,
    Authenticator,
    InvalidAPIKey,
    require,
)
from agentcache.gateway.ports import Principal, Scope
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import Forbidden, Unavailable

KEY = new_api_key()
PRINCIPAL = Principal(Tenant("t", bytes(32)), "key-1", frozenset({Scope.CACHE_READ}))


class Keys:
    """A directory that counts questions and can be taken away."""

    def __init__(self) -> None:
        self.known = {KEY: PRINCIPAL}
        self.asked: list[str] = []
        self.is_gone = False

    async def find_principal(self, api_key: str) -> Principal | None:
        """Answer from `known`."""
        self.asked.append(api_key)
        if self.is_gone:
            raise Unavailable
        return self.known.get(api_key)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authenticator(keys: Keys, clock: ManualClock) -> Authenticator:
    return Authenticator(keys, clock)


async def test_a_known_key_is_asked_for_once(authenticator: Authenticator, keys: Keys) -> None:
    assert await authenticator.authenticate(KEY) is PRINCIPAL
    assert await authenticator.authenticate(KEY) is PRINCIPAL
    assert keys.asked == [KEY]


async def test_near_misses_never_reach_the_database(authenticator: Authenticator, keys: Keys) -> None:
    wrong = {KEY[:i] + ("x" if KEY[i] != "x" else "y") + KEY[i + 1 :] for i in range(len(KEY))}
    wrong |= {KEY[:-1], KEY + "a", KEY.swapcase(), KEY.upper(), " " + KEY, KEY[:20], "", "ac_live_"}
    for key in wrong:
        with pytest.raises(InvalidAPIKey):
            await authenticator.authenticate(key)
    assert keys.asked == []


async def test_ten_thousand_random_keys_are_refused(authenticator: Authenticator) -> None:
    for _ in range(10_000):
        with pytest.raises(InvalidAPIKey):
            await authenticator.authenticate(new_api_key())


async def test_a_twin_with_the_same_beginning_is_a_stranger(authenticator: Authenticator) -> None:
    await authenticator.authenticate(KEY)
    twin = next(key for key in iter(new_api_key, None) if key != KEY)
    with pytest.raises(InvalidAPIKey):
        await authenticator.authenticate(KEY[:20] + twin[20:])


async def test_revocation_is_effective_within_five_seconds(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    await authenticator.authenticate(KEY)
    keys.known.clear()
    clock.move(5.1)
    with pytest.raises(InvalidAPIKey):
        await authenticator.authenticate(KEY)


async def test_an_ageing_verdict_is_renewed_behind_the_caller(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    await authenticator.authenticate(KEY)
    keys.known.clear()
    clock.move(2.5)
    assert await authenticator.authenticate(KEY) is PRINCIPAL
    await asyncio.sleep(0.01)
    with pytest.raises(InvalidAPIKey):
        await authenticator.authenticate(KEY)


async def test_without_the_database_verdicts_last_thirty_seconds_then_it_is_closed(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    await authenticator.authenticate(KEY)
    keys.is_gone = True
    clock.move(29)
    assert await authenticator.authenticate(KEY) is PRINCIPAL
    clock.move(2)
    with pytest.raises(Unavailable):
        await authenticator.authenticate(KEY)
    with pytest.raises(Unavailable):
        await authenticator.authenticate(new_api_key())


async def test_however_many_keys_fail_a_known_key_stays_known(authenticator: Authenticator, keys: Keys) -> None:
    await authenticator.authenticate(KEY)
    for _ in range(authenticate.REMEMBERED_MAX + 10):
        with pytest.raises(InvalidAPIKey):
            await authenticator.authenticate(new_api_key())
    assert len(authenticator._failing) <= authenticate.REMEMBERED_MAX
    assert await authenticator.authenticate(KEY) is PRINCIPAL
    assert keys.asked.count(KEY) == 1


async def test_a_flood_of_unknown_keys_asks_the_database_one_at_a_time(keys: Keys, clock: ManualClock) -> None:
    at_once = most = 0
    find = keys.find_principal

    async def find_slowly(api_key: str) -> Principal | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await find(api_key)

    keys.find_principal = find_slowly  # type: ignore[method-assign]
    authenticator = Authenticator(keys, clock)
    answers = await asyncio.gather(
        *(authenticator.authenticate(new_api_key()) for _ in range(200)),
        *(authenticator.authenticate(KEY) for _ in range(20)),
        return_exceptions=True,
    )
    assert most == 1
    assert [answer for answer in answers if isinstance(answer, Principal)] == [PRINCIPAL] * 20
    assert keys.asked.count(KEY) == 1


async def test_a_failing_key_is_asked_for_again_after_five_seconds(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    late = new_api_key()
    for _ in range(3):
        with pytest.raises(InvalidAPIKey):
            await authenticator.authenticate(late)
    assert keys.asked == [late]
    keys.known[late] = PRINCIPAL
    clock.move(5.1)
    assert await authenticator.authenticate(late) is PRINCIPAL


def test_scopes() -> None:
    require(PRINCIPAL, Scope.CACHE_READ)
    require(Principal(PRINCIPAL.tenant, "a", frozenset({Scope.ADMIN})), Scope.CACHE_WRITE)
    with pytest.raises(Forbidden):
        require(PRINCIPAL, Scope.CACHE_WRITE)


async def test_what_is_known_of_a_key_is_told_without_asking(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    assert authenticator.recent(KEY) is None
    principal = await authenticator.authenticate(KEY)
    assert authenticator.recent(KEY) is principal
    assert authenticator.recent(new_api_key()) is None
    clock.move(REFRESH_SECONDS + 0.1)
    assert authenticator.recent(KEY) is None
    assert keys.asked == [KEY]


async def test_a_principal_that_did_not_change_stays_the_same_object(
    authenticator: Authenticator, keys: Keys, clock: ManualClock
) -> None:
    first = await authenticator.authenticate(KEY)
    keys.known[KEY] = replace(PRINCIPAL)
    clock.move(VERDICT_SECONDS + 0.1)
    assert await authenticator.authenticate(KEY) is first
    keys.known[KEY] = replace(PRINCIPAL, namespace="other")
    clock.move(VERDICT_SECONDS + 0.1)
    assert (await authenticator.authenticate(KEY)).namespace == "other"
