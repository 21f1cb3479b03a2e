"""DeepSeek: OpenAI's dialect, chat and completions only; answers carry `reasoning_content`."""

from agentcache.providers.generic import openai_compatible

DIALECT = openai_compatible(
    "deepseek",
    "https://api.deepseek.com",
    title="DeepSeek",
    asks_usage=True,
    without=("responses", "embeddings", "images.generations", "moderations", "audio.speech"),
    price_provider="deepseek",
)
