"""Together: OpenAI's dialect with images of its own shape, reranking and speech."""

from __future__ import annotations

from dataclasses import replace

from agentcache.providers import openai_params as params
from agentcache.providers.dialect import Endpoint, Headers, Json, Verdict
from agentcache.providers.generic import openai_compatible
from agentcache.providers.openai import EMBEDDINGS, SPEECH
from agentcache.providers.openai_chat import chat_usage


def has_seed(body: Json) -> bool:
    """Say whether the caller fixed the random seed."""
    seed = body.get("seed")
    return isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0


def _bypass(body: Json, _headers: Headers) -> str | None:
    """Keep nothing of what the caller declares as health records."""
    return "do_not_store" if body.get("compliance") is not None else None


def _bypass_image(body: Json, headers: Headers) -> str | None:
    """Without a seed every picture is meant to be another one."""
    return _bypass(body, headers) or (None if has_seed(body) else "no_seed")


def _bypass_speech(body: Json, headers: Headers) -> str | None:
    return _bypass(body, headers) or params.bypass_speech(body, headers)


def _judge_rerank(answer: Json) -> Verdict:
    return params.judge_list(answer, "results", "relevance_score")


DIALECT = openai_compatible(
    "together",
    "https://api.together.ai",
    title="Together",
    usage_on_request=False,
    ignored=("compliance",),
    bypass=_bypass,
    without=("responses", "moderations"),
    endpoints=(
        replace(EMBEDDINGS, bypass=_bypass),
        Endpoint(
            name="images.generations",
            path="/v1/images/generations",
            bypass=_bypass_image,
            judge=params.judge_images,
        ),
        Endpoint(name="rerank", path="/v1/rerank", bypass=_bypass, judge=_judge_rerank, usage=chat_usage),
        replace(SPEECH, ignored=frozenset({"stream"}), bypass=_bypass_speech),
    ),
    price_provider="together",
)
