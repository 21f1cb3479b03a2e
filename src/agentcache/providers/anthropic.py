"""Anthropic: messages and token counts."""

from __future__ import annotations

from agentcache.providers.anthropic_stream import MESSAGE_STREAM, judge_message, message_error, message_usage
from agentcache.providers.dialect import COMPLETE, Dialect, Endpoint, Headers, Json, Usage, Verdict
from agentcache.providers.reading import count, items, members

#: Who is billed, how fast, and what the provider itself caches: none of it changes the words of an answer.
#: `inference_geo` stays in the key, so that data residency is never crossed.
_IGNORED = frozenset(
    {
        "stream",
        "metadata",
        "service_tier",
        "speed",
        "cache_control",
        "diagnostics",
        "billing_policy",
        "fallback_credit_token",
    }
)
_IGNORED_ANYWHERE = frozenset({"cache_control"})
#: Anthropic-defined tools that the caller runs itself, so the API keeps no state for them.
_CALLER_TOOLS = ("bash_", "text_editor_")


def _bypass(body: Json, _headers: Headers) -> str | None:
    """Name what makes a request depend on, or change, state at the provider."""
    for name in ("container", "mcp_servers", "thread"):
        if body.get(name):
            return name
    if body.get("max_tokens") == 0:
        return "prompt_cache_warming"
    for tool in items(body.get("tools")):
        kind = members(tool).get("type")
        if isinstance(kind, str) and kind != "custom" and not kind.startswith(_CALLER_TOOLS):
            return "server_tool"
    return None


def _judge_count(answer: Json) -> Verdict:
    return COMPLETE if count(answer.get("input_tokens")) else Verdict(False, "malformed")


def _no_cost(_answer: Json) -> Usage:
    """Counting tokens is free."""
    return Usage()


DIALECT = Dialect(
    name="anthropic",
    title="Anthropic",
    upstream="https://api.anthropic.com",
    endpoints=(
        Endpoint(
            name="messages",
            path="/v1/messages",
            ignored=_IGNORED,
            ignored_anywhere=_IGNORED_ANYWHERE,
            bypass=_bypass,
            judge=judge_message,
            usage=message_usage,
            stream=MESSAGE_STREAM,
        ),
        Endpoint(
            name="count_tokens",
            path="/v1/messages/count_tokens",
            ignored=frozenset({"cache_control", "speed"}),
            ignored_anywhere=_IGNORED_ANYWHERE,
            judge=_judge_count,
            usage=_no_cost,
        ),
    ),
    key_headers=("anthropic-version", "anthropic-beta", "anthropic-workspace-id"),
    credential_headers=("x-api-key", "authorization"),
    credential_form=("x-api-key", ""),
    error=message_error,
    probe_headers=(("anthropic-version", "2023-06-01"),),
    price_provider="anthropic",
    free_posts=("/v1/messages/count_tokens", "/v1/messages/batches/{id}/cancel", "/v1/files"),
)
