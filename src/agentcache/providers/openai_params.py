"""What OpenAI's endpoints leave out of the key, refuse to cache, and ask of the upstream."""

from __future__ import annotations

from typing import Any

from agentcache.providers.dialect import COMPLETE, Headers, Json, Usage, Verdict
from agentcache.providers.reading import count, items, members, mirror, word

#: Who asks, what it costs and how fast, how it travels. `prediction` only makes the same text come faster.
CHAT_IGNORED = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "prediction",
    }
)
#: As for chat, but `store` stays in the key: see `bypass_responses`.
RESPONSES_IGNORED = CHAT_IGNORED - {"store", "prediction"}
COMPLETIONS_IGNORED = frozenset({"stream", "stream_options", "user"})
EMBEDDINGS_IGNORED = frozenset({"user", "encoding_format"})
IMAGES_IGNORED = frozenset({"stream", "partial_images", "user", "safety_identifier"})
SPEECH_IGNORED = frozenset({"stream_format"})
IGNORED_ANYWHERE = frozenset({"prompt_cache_breakpoint"})

#: POSTs that nobody is charged for; what they prepare or stop has its price elsewhere.
FREE_POSTS = (
    "/v1/moderations",
    "/v1/files",
    "/v1/uploads",
    "/v1/uploads/{id}/parts",
    "/v1/uploads/{id}/complete",
    "/v1/uploads/{id}/cancel",
    "/v1/batches/{id}/cancel",
    "/v1/responses/{id}/cancel",
    "/v1/responses/input_tokens",
    "/v1/fine_tuning/jobs/{id}/cancel",
)

#: Tools that the caller runs itself.
_CALLER_TOOLS = frozenset({"function", "custom"})
#: Models that search the web unasked, by a part of their name.
_SEARCH_MODELS = ("search-preview", "search-api", "deep-research")


def asks_obfuscation(body: Json) -> bool:
    """Say whether the caller wants its stream padded. The padding is random, so such a stream is not cached."""
    return members(body.get("stream_options")).get("include_obfuscation") is True


def searches_web(body: Json) -> bool:
    """Say whether the model is one that looks things up by itself."""
    model = body.get("model")
    return isinstance(model, str) and any(part in model for part in _SEARCH_MODELS)


def bypass_chat(body: Json, _headers: Headers) -> str | None:
    """Refuse what is kept at the provider, looked up at the time of asking, or padded at random."""
    if body.get("store") is True:
        return "store"
    if body.get("web_search_options") is not None or searches_web(body):
        return "web_search"
    return "obfuscation" if asks_obfuscation(body) else None


def bypass_responses(body: Json, _headers: Headers) -> str | None:
    """Refuse what reads or changes state at the provider.

    Responses are stored by the provider unless `store` is false, and the official clients send no `store`. Such calls
    are cached, and `store` is part of the key: the id of a replayed answer then names a response that was stored
    too, so `previous_response_id` works with it. A caller that says `store: true` wants an object of its own.
    """
    for name in ("previous_response_id", "conversation", "background", "background_options"):
        if body.get(name):
            return name
    if body.get("store") is True:
        return "store"
    if members(body.get("prompt_cache_options")).get("prewarm"):
        return "prompt_cache_warming"
    if any(word(members(tool).get("type")) not in _CALLER_TOOLS for tool in items(body.get("tools"))):
        return "hosted_tool"
    if body.get("prompt") and not members(body["prompt"]).get("version"):
        return "unversioned_prompt"
    if searches_web(body):
        return "web_search"
    return "obfuscation" if asks_obfuscation(body) else None


def bypass_completions(body: Json, _headers: Headers) -> str | None:
    """Refuse only a padded stream."""
    return "obfuscation" if asks_obfuscation(body) else None


def bypass_images(body: Json, _headers: Headers) -> str | None:
    """Refuse streams: the number of partial images is the provider's whim, so no entry can serve both forms."""
    return "image_stream" if body.get("stream") else None


def bypass_speech(body: Json, _headers: Headers) -> str | None:
    """Refuse audio in events; plain audio bytes are cached."""
    return "audio_stream" if body.get("stream_format") == "sse" or body.get("stream") else None


def _with_stream_options(body: Json, **asked: Any) -> Json:
    options = body.get("stream_options")
    if body.get("stream") is not True or not (options is None or isinstance(options, dict)):
        return body
    return {**body, "stream_options": {**(options or {}), **asked}}


def ask_usage(body: Json) -> Json:
    """Ask for usage in a stream, which the entry needs when it answers callers that do."""
    return _with_stream_options(body, include_usage=True)


def ask_usage_unpadded(body: Json) -> Json:
    """Ask for usage in a stream, and for no padding."""
    return _with_stream_options(body, include_usage=True, include_obfuscation=False)


def ask_unpadded(body: Json) -> Json:
    """Ask for a stream without padding."""
    return _with_stream_options(body, include_obfuscation=False)


def openai_error(status: int, code: str, message: str, param: str | None) -> Json:
    """Return an error in OpenAI's shape."""
    kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def judge_list(answer: Json, member: str, part: str) -> Verdict:
    """Accept an answer whose list `member` is not empty and has `part` in every item."""
    if answer.get("error"):
        return Verdict(False, "error_in_body")
    found = answer.get(member)
    if not isinstance(found, list):
        return Verdict(False, "malformed")
    if not found:
        return Verdict(False, "empty")
    return COMPLETE if all(members(item).get(part) is not None for item in found) else Verdict(False, "malformed")


def judge_embeddings(answer: Json) -> Verdict:
    """Accept a list of vectors."""
    return judge_list(answer, "data", "embedding")


def judge_moderations(answer: Json) -> Verdict:
    """Accept a list of results."""
    return judge_list(answer, "results", "flagged")


def judge_images(answer: Json) -> Verdict:
    """Accept image bytes. An image behind a URL is gone within the hour, so the answer would be a dead link."""
    verdict = judge_list(answer, "data", "b64_json")
    if not verdict.storable and any(members(image).get("url") for image in items(answer.get("data"))):
        return Verdict(False, "temporary_url")
    return verdict


def image_usage(answer: Json) -> Usage:
    """Read `usage` of an image answer."""
    usage = members(answer.get("usage"))
    return Usage(input_tokens=count(usage.get("input_tokens")), output_tokens=count(usage.get("output_tokens")))


def personalise_image(answer: Json, request: Json) -> Json:
    """Repeat this caller's identifier, not that of whoever asked first."""
    return mirror(answer, request, {"safety_identifier": None})
