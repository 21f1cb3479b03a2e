"""Which endpoint answers which path, and in which dialect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from agentcache.demo.fake_provider import chat, messages, openai, replicate, responses
from agentcache.demo.fake_provider.exchange import Exchange
from agentcache.demo.fake_provider.wire import Reply, Request

Endpoint: TypeAlias = Callable[[Exchange], Reply]

_OPENAI: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/chat/completions"): chat.create_chat_completion,
    ("POST", "/v1/completions"): chat.create_completion,
    ("POST", "/v1/responses"): responses.create_response,
    ("GET", "/v1/responses/{id}"): responses.get_response,
    ("DELETE", "/v1/responses/{id}"): responses.delete_response,
    ("POST", "/v1/responses/{id}/cancel"): responses.cancel_response,
    ("POST", "/v1/embeddings"): openai.create_embeddings,
    ("POST", "/v1/images/generations"): openai.create_image,
    ("POST", "/v1/images/edits"): openai.create_image,
    ("POST", "/v1/moderations"): openai.create_moderation,
    ("POST", "/v1/audio/speech"): openai.create_speech,
    ("POST", "/v1/audio/transcriptions"): openai.create_transcription,
    ("POST", "/v1/audio/translations"): openai.create_transcription,
    ("GET", "/v1/models"): openai.list_models,
    ("GET", "/v1/models/{id}"): openai.get_model,
}
_ANTHROPIC: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/messages"): messages.create_message,
    ("POST", "/v1/messages/count_tokens"): messages.count_message_tokens,
    ("GET", "/v1/models"): messages.list_models,
    ("GET", "/v1/models/{id}"): messages.get_model,
}
_REPLICATE: dict[tuple[str, str], Endpoint] = {
    ("GET", "/v1/account"): replicate.get_account,
    ("POST", "/v1/predictions"): replicate.create_prediction,
    ("GET", "/v1/predictions"): replicate.list_predictions,
    ("GET", "/v1/predictions/{id}"): replicate.get_prediction,
    ("POST", "/v1/predictions/{id}/cancel"): replicate.cancel_prediction,
    ("GET", "/v1/models/{owner}/{name}"): replicate.get_model,
    ("GET", "/v1/models/{owner}/{name}/versions"): replicate.list_versions,
    ("GET", "/v1/models/{owner}/{name}/versions/{id}"): replicate.get_version,
    ("POST", "/v1/models/{owner}/{name}/predictions"): replicate.create_model_prediction,
    ("POST", "/v1/models/{owner}/{name}/versions/{id}/predictions"): replicate.create_model_prediction,
    ("GET", "/v1/deployments"): replicate.list_deployments,
    ("GET", "/v1/deployments/{owner}/{name}"): replicate.get_deployment,
    ("POST", "/v1/deployments/{owner}/{name}/predictions"): replicate.create_deployment_prediction,
    ("GET", "/v1/hardware"): replicate.list_hardware,
    ("GET", "/v1/webhooks/default/secret"): replicate.get_webhook_secret,
    ("POST", "/v1/files"): replicate.create_file,
    ("GET", "/v1/files/{id}"): replicate.get_file,
    ("DELETE", "/v1/files/{id}"): replicate.delete_file,
    ("GET", "/files/{id}"): replicate.fetch_file,
    ("GET", "/stream/{id}"): replicate.stream_prediction,
}
_TOGETHER: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/chat/completions"): chat.create_chat_completion,
    ("POST", "/v1/completions"): chat.create_completion,
    ("POST", "/v1/embeddings"): openai.create_embeddings,
    ("POST", "/v1/images/generations"): openai.create_image,
    ("POST", "/v1/rerank"): openai.create_rerank,
    ("POST", "/v1/audio/speech"): openai.stream_speech,
    ("GET", "/v1/models"): openai.list_models,
    ("GET", "/v3/whoami"): openai.whoami,
}
_TABLES = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "replicate": _REPLICATE, "together": _TOGETHER}

#: Endpoints that need no credential.
PUBLIC: frozenset[Endpoint] = frozenset({replicate.fetch_file, replicate.stream_prediction})


def _owners(path: str, request: Request) -> tuple[str, ...]:
    """Return the dialects that an unprefixed path may belong to, likeliest first."""
    if "anthropic-version" in request.headers or path.startswith("/v1/messages"):
        return ("anthropic",)
    # Together names its models `organisation/model`; nobody else's chat models have a slash.
    if b"/" in _model_name(request.body):
        return ("together", "openai", "replicate")
    return ("openai", "replicate", "together")


def _model_name(body: bytes) -> bytes:
    start = body.find(b'"model"')
    if start < 0:
        return b""
    opening = body.find(b'"', start + 7)
    return body[opening + 1 : body.find(b'"', opening + 1)]


def find_route(request: Request) -> tuple[str, str, Endpoint | None, dict[str, str]]:
    """Return dialect, provider path, endpoint (None: 404) and path parameters."""
    path = request.path.rstrip("/")
    first, _, rest = path[1:].partition("/")
    if first in _TABLES:
        owners: tuple[str, ...] = (first,)
        path = "/" + rest
    else:
        owners = _owners(path, request)
    for dialect in owners:
        endpoint, parts = _look_up(dialect, request.method, path)
        if endpoint is not None:
            return dialect, path, endpoint, parts
    return owners[0], path, None, {}


def _look_up(dialect: str, method: str, path: str) -> tuple[Endpoint | None, dict[str, str]]:
    table = _TABLES[dialect]
    endpoint = table.get((method, path))
    if endpoint is not None:
        return endpoint, {}
    segments = path.split("/")
    for (wanted_method, pattern), candidate in table.items():
        if wanted_method != method or "{" not in pattern:
            continue
        expected = pattern.split("/")
        if len(expected) == len(segments) and all(
            want == got or (want.startswith("{") and got) for want, got in zip(expected, segments, strict=True)
        ):
            names = {want[1:-1]: got for want, got in zip(expected, segments, strict=True) if want.startswith("{")}
            return candidate, names
    return None, {}
