"""In which order a look-up does what it does: what is unfit costs no vector, and nothing of it is found or kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.keys import KeyMaterial
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Meanwhile, Vector
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.gateway.semantic.looking import Asking, Look, prepare
from agentcache.gateway.semantic.tier import SemanticTier
from agentcache.kit.clock import ManualClock
from tests.support.questions import STORED_AT, direction, make_row

TENANT = Tenant("team_a", bytes(32))
FIT, UNFIT, UNFIT_MISSPELT = "How do I reset my password?", "What is the price today?", "What is the yesteday score?"


class Service:
    """An embedder that notes what it was asked for, and what it got as far as making."""

    id, dimensions, is_multilingual = "service:1", 384, False

    def __init__(self) -> None:
        self.is_down = False
        self.asked: list[str] = []
        self.made: list[str] = []

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        self.asked += texts
        if self.is_down:
            raise EmbedderUnavailable("the service refuses")
        if meanwhile is not None:
            meanwhile()
        self.made += texts
        return [direction(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def pieces(self, text: str) -> bytes:
        return b""

    async def aclose(self) -> None:
        pass


def asking(question: str, **settings: Any) -> Asking:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
    material = KeyMaterial("openai", "chat.completions", "https://api.openai.com", "default", "", (), (), body)
    custom = SemanticSettings(SemanticMode.CUSTOM, threshold=1.0, **settings)
    return Asking(TENANT, custom, "chat.completions", body, material, key=bytes(32))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def tier(tmp_path: Path, service: Service) -> AsyncIterator[SemanticTier]:
    clock = ManualClock(STORED_AT)
    index = SqliteIndex(tmp_path / "semantic.db", clock=clock, rows_max=100)
    unused: Any = None
    yield SemanticTier(
        embedder=service, index=index, verifier=load_verifier(), entries=unused, learner=unused, events=unused,
        meter=unused, clock=clock, budget_seconds=60,
    )  # fmt: skip
    await index.aclose()


async def stored(tier: SemanticTier, look: Look, question: str) -> None:
    row = make_row(
        question, direction(question), partition=look.partition, embedder_id=Service.id,
        normal_digest=look.normal_digest, question=question,
    )  # fmt: skip
    await tier.index.add(TENANT, row)


def is_over(look: Look, result: str) -> bool:
    return (look.result, look.question, look.text, look.vector, look.candidates) == (result, None, None, None, [])


async def test_a_question_is_analysed_as_it_was_before_it_was_looked_up(tier: SemanticTier, service: Service) -> None:
    look, prepared = await tier.look(asking(FIT)), prepare(asking(FIT), service, tier.verifier)
    assert (look.result, service.made) == ("none", [FIT])
    assert look.vector is not None
    assert look.text == prepared.text is not None
    assert (look.question, look.partition, look.normal_digest) == (
        prepared.question, prepared.partition, prepared.normal_digest,
    )  # fmt: skip


async def test_what_is_plainly_unfit_is_not_embedded(tier: SemanticTier, service: Service) -> None:
    assert is_over(await tier.look(asking(UNFIT)), "unfit:time-bound")
    assert service.asked == []
    assert (await tier.look(asking(UNFIT, allows_time_bound=True))).result == "none"


async def test_what_turns_out_unfit_meanwhile_ends_its_embedding(tier: SemanticTier, service: Service) -> None:
    near = prepare(asking(FIT), service, tier.verifier)
    await stored(tier, near, UNFIT_MISSPELT)
    assert is_over(await tier.look(asking(UNFIT_MISSPELT)), "unfit:time-bound")
    assert (service.asked, service.made) == ([UNFIT_MISSPELT], [])


async def test_an_unfit_question_is_told_to_be_so_while_the_embedder_is_down(
    tier: SemanticTier, service: Service
) -> None:
    service.is_down = True
    for question in (UNFIT, UNFIT_MISSPELT):
        assert is_over(await tier.look(asking(question)), "unfit:time-bound")
    with pytest.raises(EmbedderUnavailable):
        await tier.look(asking(FIT))


@pytest.mark.parametrize("question", [UNFIT, UNFIT_MISSPELT])
async def test_an_unfit_question_is_not_found_by_its_normal_form(
    tier: SemanticTier, service: Service, question: str
) -> None:
    # It was learned while the settings of its namespace let it in.
    look = prepare(asking(question, allows_time_bound=True), service, tier.verifier)
    await stored(tier, look, question)
    assert await tier.index.find_normalised(TENANT, look.partition, look.normal_digest)
    assert is_over(await tier.look(asking(question)), "unfit:time-bound")
    assert service.asked == []
