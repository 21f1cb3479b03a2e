"""OpenRouter: OpenAI's dialect in front of many providers; plugins and `:online` models look things up."""

from agentcache.providers.dialect import Headers, Json
from agentcache.providers.generic import openai_compatible


def _bypass(body: Json, _headers: Headers) -> str | None:
    return "plugins" if body.get("plugins") else None


DIALECT = openai_compatible(
    "openrouter",
    "https://openrouter.ai/api/v1",
    title="OpenRouter",
    asks_usage=True,
    live_models=(":online", "sonar", "search"),
    bypass=_bypass,
    without=("moderations", "images.generations", "audio.speech"),
    price_provider="openrouter",
    # Its list of models is public.
    probe_path="/v1/key",
)
