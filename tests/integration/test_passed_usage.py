"""Calls that go round the cache still count in the reports of what was spent."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.gateway import LightGateway

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How much is it?"}]}
MESSAGE = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "How much?"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", CHAT),
        ("/openai/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}),
        ("/openai/v1/chat/completions", {**CHAT, "store": True}),
        ("/anthropic/v1/messages", MESSAGE),
        ("/anthropic/v1/messages", {**MESSAGE, "stream": True}),
        ("/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
    ],
)
def test_a_bypassed_call_has_tokens_and_cost(tmp_path: Path, provider: FakeProvider, path: str, body: dict) -> None:
    with LightGateway(tmp_path, provider) as gateway:
        headers = {
            "x-agentcache-key": gateway.key("team"),
            "x-provider-key": "sk-test",
            "x-agentcache-mode": "off",
            "anthropic-version": "2023-06-01",
        }
        answer = httpx2.post(gateway.url + path, json=body, headers=headers)
        assert answer.status_code == 200
        assert "fwd=bypass" in answer.headers["cache-status"]
        (event,) = gateway.events
    assert event.outcome == "bypass"
    assert event.input_tokens > 0
    assert event.cost_usd_nanos > 0
    assert event.saved_usd_nanos == 0


def test_a_stream_that_tells_no_usage_counts_none(tmp_path: Path, provider: FakeProvider) -> None:
    with LightGateway(tmp_path, provider) as gateway:
        headers = {"x-agentcache-key": gateway.key("team"), "x-provider-key": "sk-test", "x-agentcache-mode": "off"}
        httpx2.post(gateway.url + "/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers)
        (event,) = gateway.events
    assert (event.outcome, event.input_tokens, event.cost_usd_nanos) == ("bypass", 0, 0)
