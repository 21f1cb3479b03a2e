"""What a newcomer points here and pastes first, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.providers.registry import build_dialects, title_of
from agentcache.settings import Settings

#: Dialects whose official clients add `/v1` themselves.
_WITHOUT_VERSION = frozenset({"anthropic", "replicate", "together"})


@dataclass(frozen=True, slots=True)
class BaseURL:
    """Where one provider's client is pointed."""

    provider: str
    url: str


def base_urls(settings: Settings) -> list[BaseURL]:
    """Return the base URL for each provider's official client."""
    return [
        BaseURL(title_of(name), f"{settings.origin}/{name}{'' if name in _WITHOUT_VERSION else '/v1'}")
        for name in build_dialects(settings.upstreams)
    ]


def snippets(origin: str) -> list[tuple[str, str]]:
    """Return (label, code) of what changes in a program, by its SDK. Keys stay in the environment."""
    return [
        (label, code.replace("{origin}", origin))
        for label, code in (
            ("OpenAI, Python", _OPENAI_PYTHON),
            ("Anthropic, Python", _ANTHROPIC_PYTHON),
            ("OpenAI, JS", _OPENAI_JAVASCRIPT),
            ("curl", _CURL),
            ("Native API", _NATIVE),
        )
    ]


_OPENAI_PYTHON = """\
import os
from openai import OpenAI

client = OpenAI(
    base_url="{origin}/openai/v1",
    default_headers={"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]},
)
"""

_ANTHROPIC_PYTHON = """\
import os
from anthropic import Anthropic

client = Anthropic(
    base_url="{origin}/anthropic",
    default_headers={"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]},
)
"""

_OPENAI_JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "{origin}/openai/v1",
  defaultHeaders: { "X-AgentCache-Key": process.env.AGENTCACHE_API_KEY },
});
"""

_CURL = """\
curl -si {origin}/openai/v1/chat/completions \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}'
# The second time: Cache-Status: AgentCache; hit
"""

_NATIVE = """\
curl -s {origin}/api/cache/set \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "gpt-5-mini", "prompt": "Say hello", "value": "Hello!"}'

curl -s {origin}/api/cache/get \\
  -H "X-AgentCache-Key: $AGENTCACHE_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "gpt-5-mini", "prompt": "Say hello"}'
"""
