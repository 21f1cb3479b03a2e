"""C15: what is invalidated while its answer is under way does not come back, and nobody who asks later joins it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

SOURCE = "https://example.com/prices"
#: How it is invalidated: `DELETE /api/cache/entries/{key}`, or the body of `POST /api/cache/purge` or `invalidate`.
WAYS: dict[str, dict[str, Any] | None] = {
    "delete by key": None,
    "key": {"keys": ["KEY"]},
    "tag": {"tags": ["prices", "other"]},
    "pattern": {"pattern": "prod/openai/gpt-4o*/*"},
    "source": {"source": SOURCE},
    "namespace": {"namespace": "prod"},
    "model": {"model": "gpt-4o-mini"},
    "everything": {"all": True},
    "invalidate url": {"url": "HTTPS://Example.com:443/./prices#list", "provider": "openai"},
    "invalidate soft": {"tags": ["prices"], "soft": True, "reason": "Prices changed"},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("races"), _provider) as gateway:
        yield gateway


def given(gateway: Any) -> dict[str, str]:
    return headers(
        gateway, X_AgentCache_Tags="prices", X_AgentCache_Sources=SOURCE, X_AgentCache_Namespace="prod"
    )  # fmt: skip


async def invalidate(http: httpx.AsyncClient, gateway: Any, way: str, key: str) -> None:
    """Return once it is acknowledged."""
    own = {"X-AgentCache-Key": gateway.key()}
    body = WAYS[way]
    if body is None:
        # 404 because nothing is stored yet; that is an answer all the same.
        assert (await http.delete(f"/api/cache/entries/{key}", headers=own)).status_code in (204, 404)
        return
    if "keys" in body:
        body = {"keys": [key]}
    verb = "invalidate" if way.startswith("invalidate") else "purge"
    response = await http.post(f"/api/cache/{verb}", json=body, headers=own)
    assert response.status_code == 200, response.text


async def race(gateway: Any, provider: Any, prompt: str, way: str, *, stream: bool) -> None:
    """Invalidate during a fill; then ask again before and after the old answer has come."""
    question = chat(prompt, stream=stream)
    async with client(gateway) as http, client(gateway) as fresh:
        explained = await http.post(
            "/api/cache/explain",
            json={"provider": "openai", "request": question, "namespace": "prod"},
            headers={"X-AgentCache-Key": gateway.key()},
        )
        key = explained.json()["key"]
        calls = provider.call_count
        provider.script(**({"hold_after": 2} if stream else {"hold": True}), times=1)
        old = asyncio.create_task(http.post(CHAT_PATH, json=question, headers=given(gateway)))
        await asyncio.to_thread(provider.wait_for_calls, calls + 1)
        await invalidate(fresh, gateway, way, key)
        # A connection of its own, so that any worker may get it.
        async with client(gateway) as other:
            later = await other.post(CHAT_PATH, json=question, headers=given(gateway))
        provider.release()
        first = await old
        assert first.headers["x-agentcache-key"] == key
        assert status_of(first) == status_of(later) == "miss"
        assert provider.call_count == calls + 2
        assert first.content != later.content
        for _ in range(3):
            async with client(gateway) as other:
                again = await other.post(CHAT_PATH, json=question, headers=given(gateway))
            assert status_of(again) == "hit"
            assert again.content == later.content


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("way", WAYS)
async def test_c15_an_invalidated_fill_does_not_come_back(gateway, provider, way, stream):
    for number in range(3):
        await race(gateway, provider, f"c15 {way} {stream} {number}", way, stream=stream)
    record(f"C15 {way} {'stream' if stream else 'plain'}", races=3, resurrections=0, joined_older_calls=0)


async def test_c15_over_two_workers(two_workers, provider, request):
    kind = request.node.callspec.params["two_workers"]
    ways = list(WAYS)
    races = 2 * len(ways)
    for number in range(races):
        await race(two_workers, provider, f"c15 {kind} {number}", ways[number % len(ways)], stream=number % 3 == 0)
    record(f"C15 two processes {kind}", races=races, resurrections=0, joined_older_calls=0)


async def test_c15_a_fill_that_nothing_concerns_is_stored(gateway, provider):
    question = chat("c15 unconcerned")
    async with client(gateway) as http:
        provider.script(hold=True, times=1)
        filling = asyncio.create_task(http.post(CHAT_PATH, json=question, headers=given(gateway)))
        await asyncio.to_thread(provider.wait_for_calls, 1)
        own = {"X-AgentCache-Key": gateway.key()}
        assert (await http.post("/api/cache/purge", json={"tags": ["unrelated"]}, headers=own)).status_code == 200
        provider.release()
        assert "; stored" in (await filling).headers["cache-status"]
        assert status_of(await http.post(CHAT_PATH, json=question, headers=given(gateway))) == "hit"


async def test_c15_purges_and_questions_in_any_order(gateway, provider):
    """Whoever asks after an acknowledged purge gets an answer that was made after it."""
    provider.script(delay=0.01, times=None)
    question = chat("c15 storm")
    purged_at = [0]
    stale = 0

    async def purge(http: httpx.AsyncClient) -> None:
        for _ in range(15):
            await asyncio.sleep(0.012)
            calls = provider.call_count
            await invalidate(http, gateway, "tag", "")
            # Whatever the provider had been asked before the purge is old now.
            purged_at[0] = max(purged_at[0], calls)

    async def ask(http: httpx.AsyncClient) -> None:
        nonlocal stale
        for _ in range(30):
            bound = purged_at[0]
            response = await http.post(CHAT_PATH, json=question, headers=given(gateway))
            number = int(response.json()["choices"][0]["message"]["content"].rsplit("#", 1)[1].split()[0])
            stale += number <= bound
            await asyncio.sleep(0.001)

    async with client(gateway) as http:
        await asyncio.gather(purge(http), *(ask(http) for _ in range(8)))
    assert stale == 0
    wait_until(lambda: len(gateway.parts.flights) == 0, what="every flight to land")
    record("C15 storm", purges=15, questions=240, older_answers=stale)
