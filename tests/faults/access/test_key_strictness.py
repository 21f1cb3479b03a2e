"""A9: a key is right to the last character, or it is none; what is misspelt never reaches the database."""

from __future__ import annotations

import asyncio
import random
import string

import pytest

from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import Unavailable
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.tiers import count

ALPHABET = string.digits + string.ascii_letters
CONNECTIONS = 4


@pytest.fixture
def asked(gateway, monkeypatch):
    """Every key that the gateway asked the directory about."""
    keys = []
    find_principal = gateway.control_plane.find_principal

    async def noting(api_key):
        keys.append(api_key)
        return await find_principal(api_key)

    monkeypatch.setattr(gateway.control_plane, "find_principal", noting)
    return keys


async def statuses(gateway, keys):
    """Return the status of one call per key, over a few connections."""
    found = [0] * len(keys)

    async def call_some(first):
        async with RawClient(gateway.url) as client:
            for number in range(first, len(keys), CONNECTIONS):
                answer = await client.request("GET", "/api/cache/stats", [("X-AgentCache-Key", keys[number])])
                found[number] = answer.status

    await asyncio.gather(*(call_some(first) for first in range(CONNECTIONS)))
    return found


def misspelt(key, chance):
    """Return what a key becomes by one slip: another character, another case, an end too early or too late."""
    slips = []
    for place, right in enumerate(key):
        wrong = [chance.choice(ALPHABET.replace(right, "")), "_", "é"]
        if right.isalpha():
            wrong.append(right.swapcase())
        slips += [key[:place] + other + key[place + 1 :] for other in wrong]
        slips.append(key[:place])
        slips.append(key[:place] + key[place + 1 :])
    slips += [key + "0", key * 2, key.upper(), key.lower(), key.replace("live", "test"), key[:-6] + "000000"]
    return [slip for slip in slips if slip != key]


async def test_a_misspelt_key_is_no_key_and_costs_no_look_up(gateway, asked):
    key = gateway.key()
    assert await statuses(gateway, [key]) == [200]
    slips = misspelt(key, random.Random(9))
    assert set(await statuses(gateway, slips)) == {401}
    assert asked == [key]
    record("A9 misspelt keys", keys=len(slips), accepted=0, look_ups=0)


async def test_thousands_of_random_keys(gateway, asked):
    chance = random.Random(99)
    letters = [chance.choices(ALPHABET, k=38) for _ in range(count(2_000, 10_000))]
    keys = [chance.choice(("ac_live_", "ac_test_")) + "".join(each) for each in letters]
    assert set(await statuses(gateway, keys)) == {401}
    assert asked == []
    record("A9 random keys", keys=len(keys), accepted=0, look_ups=0)


async def test_a_twin_of_the_first_twenty_characters_is_another_key(gateway, asked, monkeypatch):
    key = gateway.key()
    rest = iter([key[8:20] + "".join(random.Random(seed).choices(ALPHABET, k=20)) for seed in range(50)])
    twins = []
    for text in rest:
        letters = iter(text)
        monkeypatch.setattr("agentcache.kit.api_keys.secrets.choice", lambda _alphabet, letters=letters: next(letters))
        twins.append(new_api_key())
    monkeypatch.undo()
    assert {twin[:20] for twin in twins} == {key[:20]}
    assert await statuses(gateway, [key, *twins, key]) == [200, *[401] * len(twins), 200]


async def test_a_key_that_nobody_can_check_is_not_let_in(gateway, asked):
    key = gateway.key()
    gateway.control_plane.is_up = False
    with pytest.raises(Unavailable):
        await gateway.control_plane.find_principal(key)
    assert await statuses(gateway, [key]) == [503]
    gateway.control_plane.is_up = True
    assert await statuses(gateway, [key]) == [200]


async def test_a_revoked_key_is_out_within_five_seconds(gateway):
    key = gateway.new_key()
    assert await statuses(gateway, [key]) == [200]
    gateway.revoke(key)
    gateway.clock.move(5.1)
    assert await statuses(gateway, [key]) == [401]
