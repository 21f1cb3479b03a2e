"""C19: an embedder that changes, lies, fails or hangs switches semantic look-ups off, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.openai import IDENTIFY_SECONDS, OpenAIEmbedder
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable
from agentcache.kit.clock import ManualClock
from tests.support.embedding_service import EmbeddingService
from tests.support.questions import direction
from tests.support.reliability import record

PATIENT = 30.0


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddingService]:
    service = EmbeddingService()
    with service.server:
        yield service
        service.released.set()


@pytest.fixture
def service(running: EmbeddingService) -> EmbeddingService:
    running.answers, running.model, running.dimensions = "well", "model-1", 384
    running.requests.clear()
    running.authorization.clear()
    return running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def embedder(service: EmbeddingService, clock: ManualClock) -> AsyncIterator[GuardedEmbedder]:
    inner = OpenAIEmbedder("some-model", service.url, api_key="sk-secret", is_multilingual=True, clock=clock)
    embedder = GuardedEmbedder(inner, seconds=PATIENT, clock=clock)
    yield embedder
    await embedder.aclose()


async def test_vectors_come_in_the_order_of_the_texts(embedder: GuardedEmbedder, service: EmbeddingService) -> None:
    one, two = await embedder.embed(["one", "two"])
    assert one == pytest.approx(direction("model-1 one"), abs=1e-6)
    assert two == pytest.approx(direction("model-1 two"), abs=1e-6)
    assert embedder.dimensions == 384
    assert embedder.is_multilingual
    assert set(service.authorization) == {"Bearer sk-secret"}
    assert service.requests[-1]["model"] == "some-model"
    assert "sk-secret" not in repr(embedder.id)
    assert await embedder.embed([]) == []


@pytest.mark.parametrize("trouble", ["nan", "null", "huge", "short", "garbage", "error", "fewer"])
async def test_what_is_no_vector_is_no_answer(
    embedder: GuardedEmbedder, service: EmbeddingService, trouble: str
) -> None:
    await embedder.embed(["well so far"])
    service.answers = trouble
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["a question"])
    service.answers = "well"
    (vector,) = await embedder.embed(["a question"])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("trouble", ["nan", "error", "garbage"])
async def test_trouble_from_the_start_is_trouble(
    embedder: GuardedEmbedder, service: EmbeddingService, trouble: str
) -> None:
    service.answers = trouble
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["a question"])


async def test_a_service_that_hangs_costs_the_budget_twice_and_then_nothing(
    service: EmbeddingService, clock: ManualClock
) -> None:
    inner = OpenAIEmbedder("some-model", service.url, api_key=None, is_multilingual=False, clock=clock)
    embedder = GuardedEmbedder(inner, seconds=PATIENT, clock=clock)
    try:
        await embedder.embed(["warm"])
        service.answers = "silent"
        seen = len(service.requests)
        for _ in range(2):
            with pytest.raises(EmbedderUnavailable, match="took longer"):
                await embedder.embed(["a question"], seconds=0.01)
            clock.move(0.01)
        assert not embedder.breaker.lets_through
        asked = len(service.requests)
        assert asked <= seen + 2
        for _ in range(100):
            with pytest.raises(EmbedderUnavailable, match="left alone"):
                await embedder.embed(["a question"], seconds=0.01)
        assert len(service.requests) == asked, "nobody waits for a service that hangs"
        record("C19", asked=102, paid_the_budget=2, wrong_vectors=0)
    finally:
        await embedder.aclose()


async def test_a_service_that_is_down_opens_the_breaker_and_closes_it_when_it_is_back(
    embedder: GuardedEmbedder, service: EmbeddingService, clock: ManualClock
) -> None:
    embedder.breaker._probe_seconds = 0.01
    service.answers = "error"
    for _ in range(2):
        with pytest.raises(EmbedderUnavailable, match="answered 500"):
            await embedder.embed(["a question"])
        clock.move(1)
    with pytest.raises(EmbedderUnavailable, match="left alone"):
        await embedder.embed(["a question"])
    service.answers = "well"
    while not embedder.breaker.lets_through:
        await asyncio.sleep(0.01)
    assert len(await embedder.embed(["a question"])) == 1


async def test_a_model_of_other_dimensions_is_another_model(
    embedder: GuardedEmbedder, service: EmbeddingService
) -> None:
    await embedder.embed(["a question"])
    former = embedder.id
    service.dimensions = 256
    with pytest.raises(EmbedderUnavailable, match="another model"):
        await embedder.embed(["a question"])
    (vector,) = await embedder.embed(["a question"])
    assert len(vector) == embedder.dimensions == 256
    assert embedder.id != former


async def test_a_model_that_changed_behind_its_name_gets_another_id(
    embedder: GuardedEmbedder, service: EmbeddingService, clock: ManualClock
) -> None:
    await embedder.embed(["a question"])
    former = embedder.id
    clock.move(IDENTIFY_SECONDS + 1)
    await embedder.embed(["a question"])
    assert embedder.id == former, "the same model keeps its id"
    service.model = "model-2"
    clock.move(IDENTIFY_SECONDS + 1)
    await embedder.embed(["a question"])
    assert embedder.id != former
    service.model = "model-1"
    clock.move(IDENTIFY_SECONDS + 1)
    await embedder.embed(["a question"])
    assert embedder.id == former
