"""What the start page says, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.analytics.definitions import METRICS
from agentcache.analytics.queries import Totals
from agentcache.kit.money import NANOS_PER_USD
from agentcache.providers.registry import build_dialects
from agentcache.settings import Settings

#: Dialects whose official clients add `/v1` themselves.
_WITHOUT_VERSION = frozenset({"anthropic", "replicate", "together"})
_TITLES = {
    "openai": "OpenAI", "anthropic": "Anthropic", "replicate": "Replicate", "together": "Together", "groq": "Groq",
    "mistral": "Mistral", "deepseek": "DeepSeek", "openrouter": "OpenRouter",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseURL:
    """Where one provider's client is pointed."""

    provider: str
    url: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with what it means."""

    title: str
    value: str
    note: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """Something to paste."""

    title: str
    text: str


def base_urls(settings: Settings) -> list[BaseURL]:
    """Return the base URL for each provider's official client."""
    return [
        BaseURL(_TITLES.get(name, name), f"{settings.origin}/{name}{'' if name in _WITHOUT_VERSION else '/v1'}")
        for name in build_dialects(settings.upstreams)
    ]


def figures(totals: Totals) -> tuple[Figure, ...]:
    """Return the start page's four figures."""
    ratio = totals.hit_ratio
    coalesced = f"{totals.coalesced:,} more shared a call" if totals.coalesced else ""
    return (
        _figure("requests", f"{totals.requests:,}", ""),
        _figure("hits", f"{totals.hits:,}", f"{ratio:.0%} of look-ups" if ratio is not None else ""),
        _figure("misses", f"{totals.misses:,}", coalesced),
        _figure("saved_usd", dollars(totals.saved_usd_nanos), f"{dollars(totals.cost_usd_nanos)} spent"),
    )


def dollars(nanos: int) -> str:
    """Return an amount (1e-9 USD) for people: cents from a dollar on, below it as many decimals as say something."""
    amount = nanos / NANOS_PER_USD
    if nanos == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.6f}".rstrip("0") if abs(amount) >= 1e-6 else "< $0.000001"


def python_client(origin: str) -> str:
    """Return how the official OpenAI client is pointed here."""
    return f"""import os, openai

client = openai.OpenAI(
    base_url="{origin}/openai/v1",
    default_headers={{
        "X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]
    }},
)"""


def snippets(origin: str) -> tuple[Snippet, ...]:
    """Return what a newcomer pastes first."""
    return (
        Snippet(
            "Ask OpenAI, twice",
            f"""curl -si {origin}/openai/v1/chat/completions \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{
    "model": "gpt-5-mini",
    "messages": [{{"role": "user", "content": "Say hello"}}]
  }}'
# The second time: Cache-Status: AgentCache; hit""",
        ),
        Snippet(
            "Store an answer yourself, and get it back",
            f"""curl -s {origin}/api/cache/set \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"provider": "openai", "model": "gpt-5-mini",
       "prompt": "Say hello", "value": "Hello!"}}'

curl -s {origin}/api/cache/get \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"provider": "openai", "model": "gpt-5-mini",
       "prompt": "Say hello"}}'""",
        ),
    )


def _figure(name: str, value: str, note: str) -> Figure:
    metric = next(metric for metric in METRICS if metric.name == name)
    return Figure(metric.title, value, note, metric.text)
