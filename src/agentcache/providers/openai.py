"""OpenAI: chat completions, responses, completions, embeddings, images, moderations, speech."""

from __future__ import annotations

from agentcache.providers import openai_params as params
from agentcache.providers.dialect import Dialect, Endpoint, Kind
from agentcache.providers.openai_chat import CHAT_STREAM, chat_usage, judge_chat
from agentcache.providers.openai_completions import TEXT_STREAM, judge_completion
from agentcache.providers.openai_responses import (
    MIRRORED,
    RESPONSE_STREAM,
    judge_response,
    personalise_response,
    response_usage,
)

CHAT = Endpoint(
    name="chat.completions",
    path="/v1/chat/completions",
    ignored=params.CHAT_IGNORED,
    ignored_anywhere=params.IGNORED_ANYWHERE,
    bypass=params.bypass_chat,
    prepare=params.ask_usage_unpadded,
    judge=judge_chat,
    usage=chat_usage,
    stream=CHAT_STREAM,
)
COMPLETIONS = Endpoint(
    name="completions",
    path="/v1/completions",
    ignored=params.COMPLETIONS_IGNORED,
    bypass=params.bypass_completions,
    prepare=params.ask_usage_unpadded,
    judge=judge_completion,
    usage=chat_usage,
    stream=TEXT_STREAM,
)
EMBEDDINGS = Endpoint(
    name="embeddings",
    path="/v1/embeddings",
    kind=Kind.EMBEDDINGS,
    ignored=params.EMBEDDINGS_IGNORED,
    judge=params.judge_embeddings,
    usage=chat_usage,
)
RESPONSES = Endpoint(
    name="responses",
    path="/v1/responses",
    ignored=params.RESPONSES_IGNORED,
    ignored_anywhere=params.IGNORED_ANYWHERE,
    bypass=params.bypass_responses,
    prepare=params.ask_unpadded,
    judge=judge_response,
    usage=response_usage,
    personalise=personalise_response,
    # `model` is in every request: an answer must lose the first caller's metadata even if this one sends none.
    echoed=frozenset({"model", *MIRRORED}),
    stream=RESPONSE_STREAM,
)
IMAGES = Endpoint(
    name="images.generations",
    path="/v1/images/generations",
    ignored=params.IMAGES_IGNORED,
    bypass=params.bypass_images,
    judge=params.judge_images,
    usage=params.image_usage,
    personalise=params.personalise_image,
    echoed=frozenset({"prompt", "safety_identifier"}),
)
MODERATIONS = Endpoint(name="moderations", path="/v1/moderations", judge=params.judge_moderations)
SPEECH = Endpoint(
    name="audio.speech",
    path="/v1/audio/speech",
    kind=Kind.BINARY,
    ignored=params.SPEECH_IGNORED,
    bypass=params.bypass_speech,
)

DIALECT = Dialect(
    name="openai",
    title="OpenAI",
    upstream="https://api.openai.com/v1",
    endpoints=(CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS, IMAGES, MODERATIONS, SPEECH),
    key_headers=("openai-organization", "openai-project", "openai-beta"),
    error=params.openai_error,
    price_provider="openai",
    free_posts=params.FREE_POSTS,
)
