"""Any API that speaks OpenAI's dialect, described by how it differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from agentcache.providers import openai, openai_params
from agentcache.providers.dialect import Dialect, Endpoint, Headers, Json, unchanged
from agentcache.providers.openai_chunks import ChunkStream

Bypass = Callable[[Json, Headers], str | None]


def openai_compatible(
    name: str,
    base_url: str,
    *,
    title: str = "",
    asks_usage: bool = False,
    usage_on_request: bool = True,
    ignored: Iterable[str] = (),
    live_models: Iterable[str] = (),
    bypass: Bypass | None = None,
    without: Iterable[str] = (),
    endpoints: Iterable[Endpoint] = (),
    key_headers: tuple[str, ...] = (),
    price_provider: str = "",
    probe_path: str = "/v1/models",
) -> Dialect:
    """Return the table of an OpenAI-like provider.

    `asks_usage`: it accepts `stream_options.include_usage` (asking one that does not would break its streams).
    `usage_on_request`: its streams carry usage only when asked to.
    `ignored`: further body members outside the key.
    `live_models`: parts of names of models that look things up, which are not cached.
    `bypass`: further reasons not to cache. `without`: names of endpoints that it lacks. `endpoints`: its own.
    """
    lacking = frozenset(without)
    own = {endpoint.name: endpoint for endpoint in endpoints}
    live = tuple(live_models)

    def bypasses(first: Bypass) -> Bypass:
        def check(body: Json, headers: Headers) -> str | None:
            model = body.get("model")
            if isinstance(model, str) and any(part in model for part in live):
                return "live_model"
            return first(body, headers) or (bypass(body, headers) if bypass else None)

        return check

    def adapted(endpoint: Endpoint) -> Endpoint:
        stream = endpoint.stream
        return replace(
            endpoint,
            ignored=endpoint.ignored | frozenset(ignored),
            bypass=bypasses(endpoint.bypass),
            prepare=openai_params.ask_usage if isinstance(stream, ChunkStream) and asks_usage else unchanged,
            stream=replace(stream, usage_on_request=usage_on_request) if isinstance(stream, ChunkStream) else stream,
        )

    table = {endpoint.name: adapted(endpoint) for endpoint in openai.DIALECT.endpoints if endpoint.name not in lacking}
    return Dialect(
        name=name,
        title=title,
        upstream=base_url,
        endpoints=tuple((table | own).values()),
        key_headers=key_headers,
        error=openai_params.openai_error,
        price_provider=price_provider,
        # Others charge for moderation.
        free_posts=tuple(path for path in openai_params.FREE_POSTS if path != "/v1/moderations"),
        probe_path=probe_path,
    )
