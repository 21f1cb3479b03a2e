from __future__ import annotations

import ast
from pathlib import Path

import pytest

from agentcache.providers import registry
from agentcache.providers.dialect import Kind
from agentcache.providers.generic import openai_compatible
from agentcache.providers.registry import DIALECTS, build_dialects, join_upstream, title_of


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://api.openai.com/v1", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/", "/v1/models", "https://api.openai.com/v1/models"),
        ("https://api.groq.com/openai/v1", "/v1/models", "https://api.groq.com/openai/v1/models"),
        ("https://api.together.ai/v1", "/v2/videos", "https://api.together.ai/v2/videos"),
        ("https://api.together.ai", "/v2/videos", "https://api.together.ai/v2/videos"),
        ("http://127.0.0.1:9/v1beta/openai", "/v1/models", "http://127.0.0.1:9/v1beta/openai/v1/models"),
        ("http://127.0.0.1:9/v1", "/healthz", "http://127.0.0.1:9/v1/healthz"),
        ("https://v1", "/v1/models", "https://v1/v1/models"),
        ("http://h/v1", "/v1", "http://h/v1"),
        ("http://h/v1", "/v1/files/a%2Fb", "http://h/v1/files/a%2Fb"),
    ],
)
def test_base_urls_may_end_in_a_version_or_not(base: str, path: str, url: str) -> None:
    assert join_upstream(base, path) == url


def test_settings_move_a_known_dialect_and_add_unknown_ones() -> None:
    dialects = build_dialects({"openai": "http://127.0.0.1:1/v1", "local_vllm": "http://127.0.0.1:2"})
    assert dialects["openai"].upstream == "http://127.0.0.1:1/v1"
    assert dialects["openai"].find_endpoint("POST", "/v1/responses") is not None
    assert dialects["anthropic"] == DIALECTS["anthropic"]
    local = dialects["local_vllm"]
    assert (local.name, local.upstream) == ("local_vllm", "http://127.0.0.1:2")
    assert local.find_endpoint("POST", "/v1/chat/completions") is not None
    assert "local_vllm" not in DIALECTS
    assert DIALECTS["openai"].upstream == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("dialect", "method", "path", "name"),
    [
        ("openai", "POST", "/v1/chat/completions", "chat.completions"),
        ("openai", "POST", "/v1/audio/speech", "audio.speech"),
        ("openai", "GET", "/v1/chat/completions", None),
        ("openai", "GET", "/v1/models", None),
        ("openai", "POST", "/v1/files", None),
        ("openai", "GET", "/v1/responses/resp_1", None),
        ("openai", "DELETE", "/v1/responses/resp_1", None),
        ("openai", "POST", "/v1/responses/resp_1/cancel", None),
        ("openai", "POST", "/v1/audio/transcriptions", None),
        ("anthropic", "POST", "/v1/messages", "messages"),
        ("anthropic", "POST", "/v1/messages/count_tokens", "count_tokens"),
        ("anthropic", "POST", "/v1/messages/batches", None),
        ("replicate", "POST", "/v1/predictions", "predictions"),
        ("replicate", "POST", "/v1/models/a/b/predictions", "models.predictions"),
        ("replicate", "POST", "/v1/deployments/a/b/predictions", "deployments.predictions"),
        ("replicate", "GET", "/v1/predictions/x", None),
        ("replicate", "POST", "/v1/predictions/x/cancel", None),
        ("replicate", "POST", "/v1/models/a//predictions", None),
        ("together", "POST", "/v1/rerank", "rerank"),
        ("together", "GET", "/v1/billing/usage", None),
        ("mistral", "POST", "/v1/completions", None),
        ("deepseek", "POST", "/v1/embeddings", None),
    ],
)
def test_what_is_not_listed_passes_through(dialect: str, method: str, path: str, name: str | None) -> None:
    found = DIALECTS[dialect].find_endpoint(method, path)
    assert (found[0].name if found else None) == name


def test_path_parameters() -> None:
    found = DIALECTS["replicate"].find_endpoint("POST", "/v1/models/black-forest-labs/flux/predictions")
    assert found is not None
    assert found[1] == {"owner": "black-forest-labs", "name": "flux"}


def test_names_and_paths_are_unique() -> None:
    for name, dialect in DIALECTS.items():
        assert dialect.name == name
        assert len({endpoint.name for endpoint in dialect.endpoints}) == len(dialect.endpoints)
        assert len({endpoint.path for endpoint in dialect.endpoints}) == len(dialect.endpoints)
        assert all(endpoint.path.startswith("/v1/") for endpoint in dialect.endpoints)
        assert all(endpoint.stream is None or endpoint.kind is Kind.ANSWER for endpoint in dialect.endpoints)


@pytest.mark.parametrize("name", ["groq", "mistral", "deepseek", "openrouter"])
def test_an_openai_like_provider_is_a_table_of_less_than_40_lines(name: str) -> None:
    source = Path(registry.__file__).with_name(f"{name}.py").read_text()
    assert len(source.splitlines()) < 40
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def test_a_generic_provider_shares_openais_rules_without_its_assumptions() -> None:
    dialect = openai_compatible("x", "http://127.0.0.1:1", without=("embeddings",), ignored=("trace",))
    chat, _ = dialect.find_endpoint("POST", "/v1/chat/completions") or pytest.fail("no chat")
    assert "trace" in chat.ignored
    assert "user" in chat.ignored
    assert chat.prepare({"stream": True}) == {"stream": True}, "an unknown server may refuse stream_options"
    assert dialect.find_endpoint("POST", "/v1/embeddings") is None
    assert chat.bypass({"store": True}, {}) == "store"


@pytest.mark.parametrize(
    ("dialect", "status", "expected"),
    [
        ("openai", 400, {"error": {"message": "m", "type": "invalid_request_error", "param": "p", "code": "c"}}),
        ("openai", 401, {"error": {"message": "m", "type": "authentication_error", "param": "p", "code": "c"}}),
        ("together", 503, {"error": {"message": "m", "type": "server_error", "param": "p", "code": "c"}}),
        (
            "anthropic",
            429,
            {
                "type": "error",
                "error": {"type": "rate_limit_error", "message": "m", "details": {"error_code": "c", "param": "p"}},
                "request_id": None,
            },
        ),
        ("replicate", 502, {"title": "C", "detail": "m", "status": 502, "code": "c", "param": "p"}),
    ],
)
def test_errors_have_the_dialects_shape(dialect: str, status: int, expected: dict[str, object]) -> None:
    assert DIALECTS[dialect].error(status, "c", "m", "p") == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"),
        (403, "permission_error"), (404, "not_found_error"), (409, "conflict_error"), (413, "request_too_large"),
        (418, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
        (504, "timeout_error"), (529, "overloaded_error"),
    ],
)  # fmt: skip
def test_anthropic_error_types_by_status(status: int, kind: str) -> None:
    assert DIALECTS["anthropic"].error(status, "c", "m", None)["error"]["type"] == kind


def test_people_read_a_providers_name_as_it_writes_it():
    assert [title_of(name) for name in ("openai", "anthropic", "deepseek", "my-vllm")] == [
        "OpenAI", "Anthropic", "DeepSeek", "my-vllm",
    ]  # fmt: skip
    assert all(dialect.title for dialect in DIALECTS.values())
