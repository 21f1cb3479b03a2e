"""Scenario C1: every field that the official clients know is in the key, or on a list that is written out here."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import message_count_tokens_params
from anthropic.types import message_create_params as message_params
from anthropic.types.beta import message_create_params as beta_message_params
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import (
    completion_create_params,
    embedding_create_params,
    image_generate_params,
    moderation_create_params,
)
from openai.types.audio import speech_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params
from together.types import (
    completion_create_params as together_completion_params,
)
from together.types import (
    embedding_create_params as together_embedding_params,
)
from together.types import (
    rerank_create_params,
)
from together.types.chat import completion_create_params as together_chat_params

from agentcache.engine.canonical import canonical_bytes
from agentcache.engine.keys import without_members
from agentcache.providers.dialect import Endpoint
from agentcache.providers.registry import DIALECTS

#: Fields that do not change the answer: who asks, how it travels, how it is billed, what the provider keeps.
NOT_IN_KEY: dict[tuple[str, str], set[str]] = {
    ("openai", "chat.completions"): {
        "metadata", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "service_tier", "store", "stream", "stream_options", "user",
    },
    ("openai", "responses"): {
        "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
        "service_tier", "stream", "stream_options", "user",
    },
    ("openai", "completions"): {"stream", "stream_options", "user"},
    ("openai", "embeddings"): {"encoding_format", "user"},
    ("openai", "images.generations"): {"partial_images", "safety_identifier", "stream", "user"},
    ("openai", "moderations"): set(),
    ("openai", "audio.speech"): {"stream_format"},
    ("anthropic", "messages"): {
        "billing_policy", "cache_control", "diagnostics", "fallback_credit_token", "metadata", "service_tier", "speed",
        "stream",
    },
    ("anthropic", "count_tokens"): {"cache_control", "speed"},
    ("together", "rerank"): set(),
}  # fmt: skip

#: The clients' own types for each endpoint's body; several where there are several forms.
KNOWN_TYPES: dict[tuple[str, str], list[type]] = {
    ("openai", "chat.completions"): [
        chat_params.CompletionCreateParamsNonStreaming,
        chat_params.CompletionCreateParamsStreaming,
    ],
    ("openai", "responses"): [
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ],
    ("openai", "completions"): [
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ],
    ("openai", "embeddings"): [embedding_create_params.EmbeddingCreateParams],
    ("openai", "images.generations"): [
        image_generate_params.ImageGenerateParamsNonStreaming,
        image_generate_params.ImageGenerateParamsStreaming,
    ],
    ("openai", "moderations"): [moderation_create_params.ModerationCreateParams],
    ("openai", "audio.speech"): [speech_create_params.SpeechCreateParams],
    ("anthropic", "messages"): [
        message_params.MessageCreateParamsNonStreaming,
        message_params.MessageCreateParamsStreaming,
        beta_message_params.MessageCreateParamsNonStreaming,
    ],
    ("anthropic", "count_tokens"): [message_count_tokens_params.MessageCountTokensParams],
    ("together", "chat.completions"): [together_chat_params.CompletionCreateParamsNonStreaming],
    ("together", "completions"): [together_completion_params.CompletionCreateParamsNonStreaming],
    ("together", "embeddings"): [together_embedding_params.EmbeddingCreateParams],
    ("together", "rerank"): [rerank_create_params.RerankCreateParams],
}


def endpoint_of(dialect: str, name: str) -> Endpoint:
    return next(endpoint for endpoint in DIALECTS[dialect].endpoints if endpoint.name == name)


def known_fields(place: tuple[str, str]) -> list[str]:
    fields = {name for kind in KNOWN_TYPES[place] for name in field_names(kind)}
    assert "model" in fields
    return sorted(fields)


def field_names(kind: Any) -> set[str]:
    return set(kind.__required_keys__ | kind.__optional_keys__)


def key_of(endpoint: Endpoint, body: dict[str, Any]) -> bytes:
    return canonical_bytes(without_members(body, endpoint.ignored, endpoint.ignored_anywhere))


@pytest.mark.parametrize("place", NOT_IN_KEY, ids="/".join)
def test_the_ignore_list_is_what_is_written_here(place: tuple[str, str]) -> None:
    assert set(endpoint_of(*place).ignored) == NOT_IN_KEY[place]


@pytest.mark.parametrize("place", KNOWN_TYPES, ids="/".join)
def test_every_known_field_is_in_the_key_or_ignored_on_purpose(place: tuple[str, str]) -> None:
    endpoint = endpoint_of(*place)
    fields = known_fields(place)
    base = {name: f"value of {name}" for name in fields}
    for name in fields:
        changed = {**base, name: "another value"}
        absent = {other: value for other, value in base.items() if other != name}
        in_key = name not in endpoint.ignored
        assert (key_of(endpoint, base) != key_of(endpoint, changed)) == in_key, name
        assert (key_of(endpoint, base) != key_of(endpoint, absent)) == in_key, name


def test_every_ignored_field_is_one_that_some_client_knows() -> None:
    # Not in a client's types: beta members of raw requests, and routing flags.
    beyond = {"billing_policy", "stream", "compliance"}
    for place, kinds in KNOWN_TYPES.items():
        known = {name for kind in kinds for name in field_names(kind)}
        if place[0] != "together":
            assert endpoint_of(*place).ignored - known <= beyond, place


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(d.name, e) for d in DIALECTS.values() for e in d.endpoints]),
    st.text(min_size=1),
    st.integers() | st.text() | st.none(),
)
def test_an_unknown_field_is_in_the_key(place: tuple[str, Endpoint], name: str, value: Any) -> None:
    endpoint = place[1]
    if name not in endpoint.ignored | endpoint.ignored_anywhere | {"model"}:
        assert key_of(endpoint, {"model": "m"}) != key_of(endpoint, {"model": "m", name: value})


def test_cache_markers_are_dropped_at_any_depth() -> None:
    marker = {"cache_control": {"type": "ephemeral"}}
    block = {"type": "text", "text": "Hi"}
    messages = endpoint_of("anthropic", "messages")
    plain = {"system": [block], "messages": [{"role": "user", "content": [block]}], "tools": [{"name": "f"}]}
    marked = {
        "system": [block | marker],
        "messages": [{"role": "user", "content": [block | marker]}],
        "tools": [{"name": "f"} | marker],
    }
    assert key_of(messages, plain) == key_of(messages, marked | marker)
    chat = endpoint_of("openai", "chat.completions")
    breakpoint_ = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    asked = {"messages": [{"role": "user", "content": [block | breakpoint_]}]}
    assert key_of(chat, asked) == key_of(chat, {"messages": [{"role": "user", "content": [block]}]})


def test_headers_that_change_the_answer_are_in_the_key() -> None:
    assert {"anthropic-version", "anthropic-beta"} <= set(DIALECTS["anthropic"].key_headers)
    assert {"openai-organization", "openai-project"} <= set(DIALECTS["openai"].key_headers)
