"""Mistral: OpenAI's dialect; it refuses unknown members such as `stream_options` and always sends usage."""

from agentcache.providers.generic import openai_compatible

DIALECT = openai_compatible(
    "mistral",
    "https://api.mistral.ai/v1",
    title="Mistral",
    usage_on_request=False,
    without=("responses", "completions", "images.generations", "audio.speech"),
    price_provider="mistral",
)
