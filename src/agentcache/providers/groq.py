"""Groq: OpenAI's dialect; its compound models search the web by themselves."""

from agentcache.providers.generic import openai_compatible

DIALECT = openai_compatible(
    "groq",
    "https://api.groq.com/openai/v1",
    title="Groq",
    asks_usage=True,
    live_models=("compound",),
    without=("moderations", "images.generations"),
    price_provider="groq",
)
