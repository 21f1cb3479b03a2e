"""Both ways in which tests run the gateway: in a thread, and as it is delivered."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.gateway import FullGateway, LightGateway
from tests.support.guarded import wait_until
from tests.support.tiers import before_release

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port?"}]}


def ask(gateway: Any, api_key: str) -> httpx.Response:
    headers = {"X-AgentCache-Key": api_key, "Authorization": "Bearer sk-test"}
    return httpx.post(f"{gateway.url}/openai/v1/chat/completions", json=QUESTION, headers=headers, timeout=20)


#: Gateways in processes of their own serve dozens of other tests, and what they record is looked at there.
@pytest.fixture(params=["light", pytest.param("full", marks=before_release)])
def gateway(request, tmp_path, provider):
    kind = LightGateway(tmp_path, provider) if request.param == "light" else FullGateway(tmp_path, provider, workers=2)
    with kind as running:
        yield running


def test_the_second_call_is_a_hit_and_another_team_has_a_cache_of_its_own(gateway, provider):
    first, second = ask(gateway, gateway.key("acme")), ask(gateway, gateway.key("acme"))
    assert first.headers["cache-status"].startswith("AgentCache; fwd=miss"), first.text
    assert second.headers["cache-status"].startswith("AgentCache; hit")
    assert first.content == second.content
    assert provider.call_count == 1
    assert ask(gateway, gateway.key("globex")).headers["cache-status"].startswith("AgentCache; fwd=miss")
    wait_until(lambda: len(gateway.events) == 3, what="three usage events")
    assert [event.outcome for event in gateway.events] == ["miss", "exact", "miss"]
    assert len({event.tenant_id for event in gateway.events}) == 2


def test_a_light_gateway_keeps_its_entries_when_it_starts_again(tmp_path, provider):
    with LightGateway(tmp_path, provider) as gateway:
        first = ask(gateway, gateway.key())
    with LightGateway(tmp_path, provider) as gateway:
        assert ask(gateway, gateway.key()).content == first.content
        gateway.clock.move(7.5 * 86400)
        assert "fwd=stale" in ask(gateway, gateway.key()).headers["cache-status"]
