"""All dialects by name, and how a provider's path joins its base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from agentcache.providers import anthropic, deepseek, groq, mistral, openai, openrouter, replicate, together
from agentcache.providers.dialect import Dialect
from agentcache.providers.generic import openai_compatible

DIALECTS: dict[str, Dialect] = {
    module.DIALECT.name: module.DIALECT
    for module in (openai, anthropic, replicate, together, groq, mistral, deepseek, openrouter)
}

_VERSION_SEGMENT = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")


def build_dialects(upstreams: Mapping[str, str]) -> dict[str, Dialect]:
    """Return every dialect with the base URLs given by name; a name we do not know is an OpenAI-compatible upstream."""
    dialects = dict(DIALECTS)
    for name, base_url in upstreams.items():
        known = DIALECTS.get(name)
        dialects[name] = replace(known, upstream=base_url) if known else openai_compatible(name, base_url)
    return dialects


def title_of(name: str) -> str:
    """Return what people call a provider ("OpenAI"); its name where no table tells."""
    known = DIALECTS.get(name)
    return known.title if known and known.title else name


def join_upstream(base_url: str, provider_path: str) -> str:
    """Return the URL of a provider path, which begins with its version (`/v1/...`).

    A base URL that ends with a version of its own may or may not repeat it: `…/v1` + `/v1/x` is `…/v1/x`, and `…/v1` +
    `/v2/x` is `…/v2/x`, because the path is the provider's own.
    """
    base = base_url.rstrip("/")
    first = provider_path.lstrip("/").partition("/")[0]
    head, _, last = base.rpartition("/")
    # The authority is never a version: `https://v1` has an empty segment before its last one.
    if _VERSION_SEGMENT.fullmatch(last) and _VERSION_SEGMENT.fullmatch(first) and not head.endswith("/"):
        base = head
    return f"{base}/{provider_path.lstrip('/')}"
