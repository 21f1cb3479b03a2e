"""T2: what one tenant has cached does not exist for another, however it is asked for."""

from __future__ import annotations

import pytest

from tests.support.raw_http import RawClient
from tests.support.reliability import record

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port?"}]}
NEAR = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port, please?"}]}


class Tenant:
    """One tenant's calls."""

    def __init__(self, client, key, name):
        self._client = client
        self._headers = [("X-AgentCache-Key", key), ("X-Provider-Key", f"sk-canary-{name}")]

    async def ask(self, body, **headers):
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self._client.request("POST", "/openai/v1/chat/completions", [*self._headers, *more], body)

    async def call(self, method, target, body=b""):
        return await self._client.request(method, target, self._headers, body)


@pytest.fixture
async def tenants(gateway):
    async with RawClient(gateway.url) as client:
        yield Tenant(client, gateway.key("acme"), "acme"), Tenant(client, gateway.key("globex"), "globex")


async def test_another_tenants_entry_is_not_there_by_any_door(gateway, provider, tenants):
    acme, globex = tenants
    first = await acme.ask(QUESTION, x_agentcache_tags="docs")
    key = first.header("x-agentcache-key")
    assert (await acme.ask(QUESTION)).hit
    shared = 0

    # The same request, asked as it is, only from the cache, and as something near it.
    only_cached = await globex.ask(QUESTION, cache_control="only-if-cached")
    assert (only_cached.status, only_cached.hit) == (504, False)
    second = await globex.ask(QUESTION)
    shared += second.hit
    assert second.header("x-agentcache-key") != key
    assert b"canary:globex" in second.body
    assert not (await globex.ask(NEAR)).hit

    # By the other's key, through every route that takes one.
    doors = [
        ("GET", f"/api/cache/get?key={key}", b"", 404),
        ("POST", "/api/cache/get", {"key": key}, 200),
        ("GET", f"/api/cache/entries/{key}", b"", 404),
        ("DELETE", f"/api/cache/entries/{key}", b"", 404),
        ("POST", "/api/cache/purge", {"keys": [key]}, 200),
    ]
    for method, target, body, status in doors:
        answer = await globex.call(method, target, body)
        assert answer.status == status, (target, answer.body)
        assert b"canary:acme" not in answer.everything
        if status == 200:
            assert answer.json().get("hit", False) is False
            assert answer.json().get("invalidated", 0) == 0
    assert (await acme.call("GET", f"/api/cache/get?key={key}")).json()["hit"] is True

    # By search, by purge of everything, and by explanation.
    listed = (await globex.call("GET", "/api/cache/entries?tag=docs")).json()
    assert listed["entries"] == []
    assert (await globex.call("GET", "/api/cache/stats")).json()["entries"] == 2
    explained = await globex.call("POST", "/api/cache/explain", {"provider": "openai", **QUESTION, "model": "gpt-4o"})
    assert key not in explained.body.decode()
    assert (await globex.call("POST", "/api/cache/purge", {"all": True})).json()["invalidated"] == 2
    assert (await acme.ask(QUESTION)).hit
    # To a tenant without entries, there is no nearest one, whatever others have stored.
    explained = (await globex.call("POST", "/api/cache/explain", {"provider": "openai", **NEAR})).json()
    assert explained.get("nearest") is None
    record("T2", doors=len(doors) + 6, shared_hits=shared)


async def test_a_value_that_one_tenant_sets_is_served_to_nobody_else(gateway, provider, tenants):
    acme, globex = tenants
    answer = (await acme.ask(QUESTION)).json()
    poison = {**answer, "choices": [{**answer["choices"][0], "message": {"role": "assistant", "content": "poison"}}]}
    stored = await acme.call("POST", "/api/cache/set", {"provider": "openai", "request": QUESTION, "value": poison})
    assert stored.status == 201
    assert b"poison" in (await acme.ask(QUESTION)).body
    assert b"poison" not in (await globex.ask(QUESTION)).body
    # Nor can it be filed under a key that belongs to the other.
    key = (await globex.ask(QUESTION)).header("x-agentcache-key")
    await acme.call("POST", "/api/cache/set", {"key": key, "value": "poison"})
    theirs = await globex.ask(QUESTION)
    assert theirs.hit
    assert b"poison" not in theirs.body
    assert b"poison" not in (await globex.call("GET", f"/api/cache/entries/{key}")).body
