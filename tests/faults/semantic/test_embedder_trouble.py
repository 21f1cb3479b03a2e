"""C19: embedder or index in trouble. Exact hits go on, the provider answers the rest, and nothing wrong is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from hashlib import md5, sha256

import httpx
import numpy as np
import pytest
import structlog

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Meanwhile, Vector
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from agentcache.gateway.semantic import building
from tests.support.near import NearGateway, NearTeam, result, text
from tests.support.reliability import record

SERVES = SemanticSettings(SemanticMode.CUSTOM, "cosine", threshold=0.9, shadow_share=0.0)
ASKED, NEAR = "How do I reset my password?", "What is the way to reset my password?"
CALLS = 12


class Service:
    """An embedder that is told how to fail. Well, it takes every question about a password for the same."""

    is_multilingual = False

    def __init__(self) -> None:
        self.id = "service@1"
        self.dimensions = 8
        self.trouble = ""
        self.asked = 0

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        self.asked += 1
        if self.trouble == "down":
            raise EmbedderUnavailable("the service refuses")
        if self.trouble == "slow":
            await asyncio.sleep(1.0)
        if meanwhile is not None:
            meanwhile()
        return [self._vector(one) for one in texts]

    def _vector(self, one: str) -> Vector:
        seed = sha256(("password" if "password" in one else one).encode()).digest()
        vector = np.frombuffer(seed, np.uint8)[: 7 if self.trouble == "dimension" else 8].astype(np.float32) - 127.5
        vector = vector / np.linalg.norm(vector)
        return vector * np.float32("nan") if self.trouble == "nan" else vector

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def pieces(self, text: str) -> bytes:
        return b""

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def service():
    return Service()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider, service):
    with pytest.MonkeyPatch.context() as patch:

        def open_stub(settings, clock):
            return GuardedEmbedder(service, seconds=settings.semantic_budget_ms / 1000, clock=clock)

        patch.setattr(building, "open_embedder", open_stub)
        folder = tmp_path_factory.mktemp("trouble")
        with NearGateway(folder, _provider, AGENTCACHE_SEMANTIC_BUDGET_MS="400") as gateway:
            yield gateway


@pytest.fixture
def team(gateway, provider, service, request):
    service.id, service.trouble = "service@1", ""
    with httpx.Client(timeout=60) as client:
        team = NearTeam(gateway, client, md5(request.node.nodeid.encode()).hexdigest(), SERVES)
        # A breaker that an earlier test opened closes when its probe finds the service well.
        for number in range(1_000):
            if result(team.send(f"Is the service well, number {number}?")) != "skipped":
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the tier did not come back")
        yield team


@pytest.mark.parametrize("trouble", ["down", "slow", "nan", "dimension"])
def test_calls_go_on_without_it(team, provider, service, trouble):
    first = team.send(ASKED)
    assert result(team.send(NEAR)) == "hit"
    rows = team.gateway.run(team.gateway.tier.index.count(team.gateway.tenant(team.team)))
    service.trouble, service.asked = trouble, 0
    began_at = len(team.gateway.events)
    for number in range(CALLS):
        passed = team.send(f"How do I change password number {number}?")
        assert (passed.status_code, result(passed)) == (200, "skipped")
        assert text(team.send(ASKED)) == text(first)
        assert "hit" in team.last_reply().cache_status
    # Further calls do not wait: the service was asked for a few of them, not for each, when nobody waits for it aside.
    behind = CALLS if trouble == "slow" else 0
    assert service.asked - behind < CALLS
    # What it gave was kept only where it was a vector, however late.
    assert team.gateway.run(team.gateway.tier.index.count(team.gateway.tenant(team.team))) == rows + behind
    misses = [event for event in team.gateway.events[began_at:] if event.outcome == "miss"]
    added_ms = max(event.latency_us - event.upstream_us for event in misses) / 1e3
    record(f"C19 {trouble}", calls=CALLS, asked=service.asked, wrong=0, slowest_added_ms=round(added_ms, 1))


def test_vectors_of_another_model_are_never_compared(team, provider, service):
    team.send(ASKED)
    service.id = "service@2"
    assert result(team.send(NEAR)) == "none"
    # What the new model's vectors were learned for is found by them.
    assert result(team.send("Tell me how to reset my password.")) == "hit"
    # Another spelling of the very question needs no vector.
    assert result(team.send("how do i reset my password")) == "hit"
    assert provider.call_count >= 2


def test_an_index_that_cannot_be_opened_costs_the_tier_alone(tmp_path, provider):
    (tmp_path / "semantic.db").mkdir()
    with (
        structlog.testing.capture_logs() as lines,
        NearGateway(tmp_path, provider) as gateway,
        httpx.Client(timeout=60) as client,
    ):
        team = NearTeam(gateway, client, "acme", SERVES)
        first = team.send(ASKED)
        assert (first.status_code, result(first)) == (200, "skipped")
        assert text(team.send(ASKED)) == text(first)
        assert result(team.send(NEAR)) == "skipped"
        assert provider.call_count == 2
        said = team.api("feedback", {"key": first.headers["x-agentcache-key"], "verdict": "wrong"})
        # What cannot be taken out of service now is not called done.
        assert said.status_code == 503
    told = [line["log_level"] for line in lines if line["event"] == "semantic_index_failed"]
    assert told == ["warning"], "whoever runs the server is told, once"
