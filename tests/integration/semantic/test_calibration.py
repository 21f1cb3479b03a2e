"""An embedding service over real sockets whose cosines run from .9: read by its calibration, and by nothing before that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
import structlog

from agentcache.engine.semantic.calibration.pairs import load_pairs
from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from agentcache.engine.semantic.texts import analyse
from agentcache.kit.logs import FIELDS
from tests.support.embedding_service import EmbeddingService
from tests.support.near import NearGateway, NearTeam, result, text
from tests.support.questions import direction
from tests.support.semantic_models import models_folder

SERVES = SemanticSettings(SemanticMode.CUSTOM, threshold=0.5, shadow_share=0.0)
ASKED, NEAR = "How do I reset my password?", "What is the way to reset my password?"
ANOTHER_SPELLING = "how do I   reset my password"
#: Nearer to the first than the rewording is, by the cosines of the service.
OTHER = "How do I reset my router?"


@pytest.fixture(scope="module")
def _high() -> Any:
    """A good model whose cosines run from .9, as many do: MiniLM's vectors with one direction in common."""
    model, common = MinilmModel(models_folder()), 3 * direction("common")
    yield cache(lambda asked: model.embed_one(asked) + common)
    model.close()


@pytest.fixture
def service(_high) -> Iterator[EmbeddingService]:
    service = EmbeddingService()
    service.vector_of = _high
    with service.server:
        yield service


@pytest.fixture
def gateway(service, tmp_path, provider) -> Iterator[NearGateway]:
    with opened(service, tmp_path, provider) as gateway:
        yield gateway


def opened(service: EmbeddingService, folder: Any, provider: Any) -> NearGateway:
    return NearGateway(folder / "near", provider, AGENTCACHE_SEMANTIC_EMBEDDER=f"openai:m@{service.url}")


@pytest.fixture
def team(gateway) -> Iterator[NearTeam]:
    with httpx.Client(timeout=60) as client:
        yield NearTeam(gateway, client, "acme", SERVES)


def calibrated(team: NearTeam) -> None:
    """Have the team's first question looked up, and what that begins done."""
    team.send(ASKED)
    team.gateway.run(team.gateway.tier.settle())


def asked_of(service: EmbeddingService) -> list[str]:
    return [one for request in service.requests for one in request["input"]]


def reason(response: httpx.Response) -> str:
    members = response.headers["x-agentcache-semantic"].split("; ")
    return next((one.removeprefix("reason=") for one in members if one.startswith("reason=")), "")


def test_cosines_that_run_high_are_read_on_the_built_in_scale(team, service):
    first = team.send(ASKED)
    assert (result(first), reason(first)) == ("skipped", "uncalibrated")
    team.gateway.run(team.gateway.tier.settle())
    texts = load_pairs().texts
    assert sorted(one for one in asked_of(service) if one in set(texts)) == sorted(texts), "each once"
    assert max(len(request["input"]) for request in service.requests) < 20, "in batches"
    hit = team.send(NEAR)
    assert (result(hit), reason(hit), text(hit)) == ("hit", "", text(first))
    assert 0.75 <= float(hit.headers["x-agentcache-similarity"]) < 0.99, "the service says .997"
    assert team.gateway.near_events[-1].verifier.endswith("+calibrated"), "evidence apart from that of raw cosines"
    assert result(team.send(OTHER)) == "none", "below the least cosine that counts, where the service says .95"


def test_until_it_is_calibrated_nothing_is_served_by_it_and_nobody_waits(team, service):
    service.refused = frozenset(load_pairs().texts[100:101])
    first = team.send(ASKED)
    team.gateway.run(team.gateway.tier.settle())
    assert text(team.send(ANOTHER_SPELLING)) == text(first), "by its normal form, which takes no vector"
    again = team.send(NEAR)
    assert (result(again), reason(again), again.status_code) == ("skipped", "uncalibrated", 200)
    assert not list(team.gateway.settings.calibrations_dir.glob("*"))
    service.refused, service.texts_at_once = frozenset(), 4
    assert reason(team.send("Which planets have rings?")) == "uncalibrated", "it rests after a failure"
    team.gateway.run(team.gateway.tier.settle())
    assert not list(team.gateway.settings.calibrations_dir.glob("*"))
    team.gateway.clock.move(60)
    team.send("Which moons have rings?")
    assert reason(team.send("Which stars have rings?")) == "uncalibrated", "while the service keeps the texts"
    service.released.set()
    team.gateway.run(team.gateway.tier.settle())
    assert result(team.send("What stars have rings?")) == "hit", "of what was learned meanwhile"
    assert text(team.send("What is a way to reset my password?")) in (text(first), text(again)), (
        "of what was asked before"
    )


def test_a_service_that_takes_few_texts_at_once_is_calibrated_by_few_at_once(team, service):
    # Fewer than three it cannot refuse: what tells models apart is asked with the first text.
    service.texts_max = 3
    calibrated(team)
    texts = load_pairs().texts
    asked = [request["input"] for request in service.requests if request["input"][0] in texts]
    assert [len(some) for some in asked] == [8, 4, *[2] * (len(texts) // 2), *[1] * (len(texts) % 2)]
    assert team.gateway.tier._embedder.breaker.opened == 0
    assert result(team.send(NEAR)) == "hit"


def test_a_model_is_calibrated_once_for_all_workers_and_restarts(service, tmp_path, provider):
    with httpx.Client(timeout=60) as client:
        with opened(service, tmp_path, provider) as first, opened(service, tmp_path, provider) as second:
            teams = [NearTeam(gateway, client, "acme", SERVES) for gateway in (first, second)]
            for team, asked in zip(teams, (ASKED, OTHER), strict=True):
                team.send(asked)
            for team in teams:
                team.gateway.run(team.gateway.tier.settle())
            assert [result(team.send(NEAR)) for team in teams] == ["hit", "hit"]
        with opened(service, tmp_path, provider) as restarted:
            team = NearTeam(restarted, client, "acme", SERVES)
            assert result(team.send("What is a way to reset my password?")) == "hit", "with the first look-up"
    one = load_pairs().texts[0]
    assert asked_of(service).count(one) == 1


def test_every_field_of_the_log_is_allowed(team, service):
    with structlog.testing.capture_logs() as told:
        service.refused = frozenset(load_pairs().texts[:1])
        team.send(ASKED)
        team.gateway.run(team.gateway.tier.settle())
        service.refused = frozenset()
        team.gateway.clock.move(60)
        team.send(NEAR)
        team.gateway.run(team.gateway.tier.settle())
    lines = [line for line in told if line["event"] in ("embedder_not_calibrated", "embedder_calibrated")]
    assert len(lines) == 2
    assert {field for line in lines for field in line} - {"log_level"} <= FIELDS


def test_another_model_behind_the_name_is_calibrated_anew_and_held_back_where_it_is_unfit(team, service, provider):
    calibrated(team)
    hit = team.send(NEAR)
    assert result(hit) == "hit"
    # Only which words both have: what looks alike is the same to it.
    word = cache(direction)
    service.model, service.vector_of = "model-2", lambda asked: sum(map(word, analyse(asked).normal.split()))
    team.gateway.clock.move(3600)
    team.send("Which planets have rings?")
    team.gateway.run(team.gateway.tier.settle())
    assert asked_of(service).count(load_pairs().texts[0]) == 2
    first = team.send("How do I bake bread?")
    near = team.send("How can I bake bread?")
    assert (result(near), reason(near)) == ("shadow", "unfit-embedder"), "a hit, were the embedder fit"
    assert text(near) != text(first)
    event = team.gateway.near_events[-1]
    assert (event.kind, event.share, event.verifier.partition("+")[2]) == ("shadow", 1.0, "unfit")
    only = {"cache-control": "only-if-cached"}
    assert team.send("How could I bake bread?", headers=only).status_code == 504
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How should I bake bread?"}]}
    told = team.api("explain", {"provider": "openai", "request": body}).json()
    assert (told["near"]["result"], told["near"]["reason"]) == ("shadow", "unfit-embedder")
    assert team.send("how do I bake   bread").headers["cache-status"].endswith("detail=semantic-normalised")
