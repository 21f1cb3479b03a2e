"""What is not cached, what is asked of the upstream, and what a replay repeats of its own caller."""

from __future__ import annotations

from typing import Any

import pytest

from agentcache.providers.dialect import Endpoint, Kind
from agentcache.providers.registry import DIALECTS

ENDPOINTS = {f"{d.name}/{e.name}": e for d in DIALECTS.values() for e in d.endpoints}
CHAT, RESPONSES, MESSAGES = (
    ENDPOINTS[name] for name in ("openai/chat.completions", "openai/responses", "anthropic/messages")
)

BYPASSED = [
    ("openai/chat.completions", {"store": True}, "store"),
    ("openai/chat.completions", {"web_search_options": {}}, "web_search"),
    ("openai/chat.completions", {"model": "gpt-4o-search-preview"}, "web_search"),
    ("openai/chat.completions", {"stream_options": {"include_obfuscation": True}}, "obfuscation"),
    ("openai/completions", {"stream_options": {"include_obfuscation": True}}, "obfuscation"),
    ("openai/responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("openai/responses", {"conversation": "conv_1"}, "conversation"),
    ("openai/responses", {"background": True}, "background"),
    ("openai/responses", {"store": True}, "store"),
    ("openai/responses", {"tools": [{"type": "function"}, {"type": "web_search"}]}, "hosted_tool"),
    ("openai/responses", {"tools": [{"type": "mcp"}]}, "hosted_tool"),
    ("openai/responses", {"tools": ["?"]}, "hosted_tool"),
    ("openai/responses", {"prompt_cache_options": {"prewarm": True}}, "prompt_cache_warming"),
    ("openai/responses", {"prompt": {"id": "pmpt_1"}}, "unversioned_prompt"),
    ("openai/responses", {"model": "o4-mini-deep-research"}, "web_search"),
    ("openai/responses", {"stream_options": {"include_obfuscation": True}}, "obfuscation"),
    ("openai/images.generations", {"stream": True}, "image_stream"),
    ("openai/audio.speech", {"stream_format": "sse"}, "audio_stream"),
    ("anthropic/messages", {"container": "c_1"}, "container"),
    ("anthropic/messages", {"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ("anthropic/messages", {"thread": {"id": "t"}}, "thread"),
    ("anthropic/messages", {"max_tokens": 0}, "prompt_cache_warming"),
    ("anthropic/messages", {"tools": [{"name": "f"}, {"type": "web_search_20260209"}]}, "server_tool"),
    ("anthropic/messages", {"tools": [{"type": "code_execution_20250825"}]}, "server_tool"),
    ("anthropic/messages", {"tools": [{"type": "memory_20250818"}]}, "server_tool"),
    ("together/chat.completions", {"compliance": "hipaa"}, "do_not_store"),
    ("together/embeddings", {"compliance": "hipaa"}, "do_not_store"),
    ("together/rerank", {"compliance": "hipaa"}, "do_not_store"),
    ("together/audio.speech", {"compliance": "hipaa"}, "do_not_store"),
    ("together/audio.speech", {"stream": True}, "audio_stream"),
    ("together/images.generations", {"prompt": "a cat"}, "no_seed"),
    ("together/images.generations", {"seed": True}, "no_seed"),
    ("groq/chat.completions", {"model": "groq/compound-mini"}, "live_model"),
    ("openrouter/chat.completions", {"plugins": [{"id": "web"}]}, "plugins"),
    ("openrouter/chat.completions", {"model": "openai/gpt-4o:online"}, "live_model"),
    ("openrouter/chat.completions", {"store": True}, "store"),
]

CACHED = [
    ("openai/chat.completions", {"store": False, "stream": True, "stream_options": {"include_usage": True}}),
    ("openai/chat.completions", {"store": None, "tools": [{"type": "function", "function": {"name": "web_search"}}]}),
    ("openai/responses", {"input": "hi"}),
    ("openai/responses", {"store": False, "previous_response_id": None, "conversation": None, "background": False}),
    ("openai/responses", {"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}),
    ("openai/responses", {"prompt": {"id": "pmpt_1", "version": "2"}, "stream_options": None}),
    ("openai/images.generations", {"prompt": "a cat", "stream": False}),
    ("openai/audio.speech", {"input": "hi", "stream_format": "audio"}),
    ("anthropic/messages", {"max_tokens": 1, "tools": [{"name": "f"}, {"type": "custom", "name": "g"}]}),
    ("anthropic/messages", {"max_tokens": 1, "tools": [{"type": "bash_20250124"}, {"type": "text_editor_20250728"}]}),
    ("together/images.generations", {"seed": 0}),
    ("groq/chat.completions", {"model": "llama-3.3-70b-versatile"}),
    ("openrouter/chat.completions", {"model": "openai/gpt-4o"}),
]


@pytest.mark.parametrize(("endpoint", "body", "reason"), BYPASSED)
def test_bypassed(endpoint: str, body: dict[str, Any], reason: str) -> None:
    assert ENDPOINTS[endpoint].bypass({"model": "m", **body}, {}) == reason


@pytest.mark.parametrize(("endpoint", "body"), CACHED)
def test_cached(endpoint: str, body: dict[str, Any]) -> None:
    assert ENDPOINTS[endpoint].bypass({"model": "m", **body}, {}) is None


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_odd_types_never_raise(endpoint: Endpoint) -> None:
    names = [
        "model",
        "tools",
        "prompt",
        "stream",
        "stream_options",
        "prompt_cache_options",
        "seed",
        "max_tokens",
        "store",
    ]
    for value in (None, 1, 1.5, "x", [], ["x", None], {}, {"type": 3}, [{"type": None}], True):
        body = dict.fromkeys(names, value)
        before = repr(body)
        endpoint.bypass(body, {})
        endpoint.prepare(body)
        assert repr(body) == before
        answer = dict.fromkeys(["choices", "usage", "data", "results", "content", "output", "metrics", "status"], value)
        assert endpoint.kind is Kind.BINARY or not endpoint.judge(answer).storable
        assert endpoint.usage(answer).input_tokens == 0
        endpoint.personalise(answer, body)


@pytest.mark.parametrize("name", ["openai/chat.completions", "openai/completions"])
def test_openai_streams_are_asked_for_usage_and_no_padding(name: str) -> None:
    prepare = ENDPOINTS[name].prepare
    asked = {"include_usage": True, "include_obfuscation": False}
    assert prepare({"stream": True}) == {"stream": True, "stream_options": asked}
    assert prepare({"stream": True, "stream_options": None})["stream_options"] == asked
    body = {"stream": True, "stream_options": {"include_usage": False, "x": 1}}
    assert prepare(body)["stream_options"] == {"x": 1, **asked}
    assert body["stream_options"] == {"include_usage": False, "x": 1}
    for untouched in ({}, {"stream": False}, {"stream": True, "stream_options": "bad"}):
        assert prepare(untouched) is untouched


def test_responses_streams_are_asked_for_no_padding() -> None:
    assert RESPONSES.prepare({"stream": True})["stream_options"] == {"include_obfuscation": False}
    assert RESPONSES.prepare({"input": "x"}) == {"input": "x"}


@pytest.mark.parametrize(
    ("name", "asks"),
    [("groq", True), ("deepseek", True), ("openrouter", True), ("mistral", False), ("together", False)],
)
def test_only_providers_that_take_it_are_asked_for_usage(name: str, asks: bool) -> None:
    prepared = ENDPOINTS[f"{name}/chat.completions"].prepare({"stream": True})
    assert prepared == ({"stream": True, "stream_options": {"include_usage": True}} if asks else {"stream": True})


def test_anthropic_requests_are_sent_as_they_are() -> None:
    body = {"stream": True, "messages": []}
    assert MESSAGES.prepare(body) is body


def test_a_replayed_response_repeats_this_callers_own_members() -> None:
    stored = {"id": "r", "metadata": {"job": "a"}, "user": "alice", "safety_identifier": "s1", "model": "m"}
    replayed = RESPONSES.personalise(stored, {"model": "m", "metadata": {"job": "b"}, "prompt_cache_key": "k"})
    assert replayed == {
        "id": "r", "metadata": {"job": "b"}, "user": None, "safety_identifier": None, "model": "m", "prompt_cache_key": "k",
    }  # fmt: skip
    assert RESPONSES.personalise(stored, {"model": "m"})["metadata"] == {}
    assert stored["metadata"] == {"job": "a"}
    assert not RESPONSES.echoed.isdisjoint({"model": "m", "input": "x"}), "called even when nothing is mirrored"


def test_a_replayed_image_repeats_this_callers_identifier() -> None:
    images = ENDPOINTS["openai/images.generations"]
    assert images.personalise({"data": [], "safety_identifier": "a"}, {"prompt": "x"}) == {
        "data": [],
        "safety_identifier": None,
    }
    assert not images.echoed.isdisjoint({"prompt": "x"})


def test_kinds() -> None:
    assert ENDPOINTS["openai/embeddings"].kind is Kind.EMBEDDINGS
    assert ENDPOINTS["openai/audio.speech"].kind is Kind.BINARY
    assert ENDPOINTS["replicate/predictions"].kind is Kind.PREDICTION
    assert CHAT.kind is Kind.ANSWER
