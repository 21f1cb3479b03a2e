"""The same over Redis, where every look-up is a round trip."""

from __future__ import annotations

import httpx
import pytest

from tests.support.running_gateway import RunningGateway


@pytest.fixture
def ask(tmp_path, provider, redis_url):
    with RunningGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_url) as gateway, httpx.Client() as client:
        headers = {"x-agentcache-key": gateway.make_key(), "authorization": "Bearer sk-test"}

        def send(items):
            body = {"model": "text-embedding-3-small", "input": items, "encoding_format": "base64"}
            return client.post(f"{gateway.url}/openai/v1/embeddings", json=body, headers=headers, timeout=30)

        yield send


def test_two_thousand_items_are_stored_and_found(ask, provider):
    items = [f"item {number}" for number in range(2048)]
    first, second = ask(items), ask(items)
    assert "stored" in first.headers["cache-status"]
    assert "hit" in second.headers["cache-status"]
    assert first.content == second.content
    assert provider.call_count == 1
