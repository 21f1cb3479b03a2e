"""What to paste where to use a key: for shells, programs and other people's SDKs."""

from __future__ import annotations

from dataclasses import dataclass

#: Stands for a provider's own key, which we never see here.
_PROVIDER_KEY = "$OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One piece of text to be copied."""

    label: str
    code: str


def env_file(api_key: str, origin: str) -> str:
    """Return the lines of a `.env` file."""
    return f"AGENTCACHE_API_KEY={api_key}\nAGENTCACHE_URL={origin}\nOPENAI_BASE_URL={origin}/openai/v1\n"


def snippets(api_key: str, origin: str) -> list[Snippet]:
    """Return ways to use a key; `api_key` may be the masked one."""
    return [
        Snippet("Environment", env_file(api_key, origin).rstrip()),
        Snippet("curl", _CALL.format(origin=origin, key=api_key, provider=_PROVIDER_KEY)),
        Snippet("curl, native API", _STORE.format(origin=origin, key=api_key)),
        Snippet("Python", _PYTHON.format(origin=origin, key=api_key)),
        Snippet("JavaScript", _JAVASCRIPT.format(origin=origin, key=api_key)),
        Snippet("Other tools", f"OpenAI base URL: {origin}/openai/v1\nHeader: X-AgentCache-Key: {api_key}"),
    ]


_CALL = """\
curl -si {origin}/openai/v1/chat/completions \\
  -H "X-AgentCache-Key: {key}" \\
  -H "Authorization: Bearer {provider}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "Say hello"}}]}}'"""

_STORE = """\
curl -s {origin}/api/cache/set \\
  -H "X-AgentCache-Key: {key}" -H "Content-Type: application/json" \\
  -d '{{"provider": "openai", "model": "gpt-4o-mini", "prompt": "Say hello", "value": "Hello!"}}'
curl -s {origin}/api/cache/get \\
  -H "X-AgentCache-Key: {key}" -H "Content-Type: application/json" \\
  -d '{{"provider": "openai", "model": "gpt-4o-mini", "prompt": "Say hello"}}'"""

_PYTHON = """\
from openai import OpenAI

client = OpenAI(
    base_url="{origin}/openai/v1",
    default_headers={{"X-AgentCache-Key": "{key}"}},
)  # the provider's own key comes from OPENAI_API_KEY, as ever
print(client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{{"role": "user", "content": "Say hello"}}],
).choices[0].message.content)"""

_JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({{
  baseURL: "{origin}/openai/v1",
  defaultHeaders: {{ "X-AgentCache-Key": "{key}" }},
}}); // the provider's own key comes from OPENAI_API_KEY, as ever
const answer = await client.chat.completions.create({{
  model: "gpt-4o-mini",
  messages: [{{ role: "user", content: "Say hello" }}],
}});
console.log(answer.choices[0].message.content);"""
