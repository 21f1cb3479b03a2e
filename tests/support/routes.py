"""Every route of the gateway, read off its own tables, with a request that fits each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agentcache.demo.fake_provider import FakeProvider
from agentcache.gateway.native.routes import ROUTES
from agentcache.providers.dialect import Dialect, Kind
from agentcache.providers.registry import DIALECTS, build_dialects
from agentcache.settings import Settings

_PARAMETER = re.compile(r"\{(\w+)\}")
_ZERO_KEY = "0" * 64
#: Bodies that our own API understands, by route name.
_NATIVE_BODIES: dict[str, Any] = {
    "cache.get": {"provider": "openai", "prompt": "Which port?"},
    "cache.set": {"provider": "openai", "prompt": "Which port?", "value": "8787"},
    "cache.purge": {"tags": ["none"]},
    "cache.explain": {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]},
}


@dataclass(frozen=True)
class Route:
    """One operation: how to call it and which group of routes it belongs to."""

    group: str
    name: str
    method: str
    target: str
    body: Any = field(default=b"", compare=False)

    @property
    def id(self) -> str:
        """What a failing test shows."""
        return f"{self.method} {self.target}"


def provider_routes(dialects: dict[str, Dialect]) -> Iterator[Route]:
    """Yield every endpoint of every dialect, the aliases, and one path that is only passed through."""
    for name, dialect in dialects.items():
        prefixes = [f"/{name}"] + (["", "/api"] if name == "openai" else [])
        for prefix in prefixes:
            for endpoint in dialect.endpoints:
                path = _PARAMETER.sub("some", endpoint.path)
                body: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
                if endpoint.kind is Kind.EMBEDDINGS:
                    body = {"model": "text-embedding-3-small", "input": "Hi"}
                elif endpoint.kind is Kind.PREDICTION:
                    body = {"version": "ab" * 32, "input": {"prompt": "Hi", "seed": 1}}
                yield Route(name, endpoint.name, endpoint.method, prefix + path, body)
            yield Route(name, "pass", "GET", f"{prefix}/v1/models")
            yield Route(name, "pass", "DELETE", f"{prefix}/v1/files/some")
        if any(endpoint.kind is Kind.PREDICTION for endpoint in dialect.endpoints):
            yield Route(name, "poll", "GET", f"/{name}/v1/predictions/abc")
            yield Route(name, "cancel", "POST", f"/{name}/v1/predictions/abc/cancel")


def native_routes() -> Iterator[Route]:
    """Yield every route of our own API."""
    for route in ROUTES:
        target = route.path.replace("{key}", _ZERO_KEY)
        if route.name == "cache.getByKey":
            target += "?key=some"
        yield Route("native", route.name, route.method, target, _NATIVE_BODIES.get(route.name, b""))


def guarded_routes(dialects: dict[str, Dialect]) -> list[Route]:
    """Return every route of the gateway that needs a key."""
    return [*provider_routes(dialects), *native_routes(), Route("health", "metrics", "GET", "/metrics")]


#: What the gateway answers without a key, and why that is right.
PUBLIC_TARGETS = {
    "/healthz": "says that the process lives",
    "/readyz": "says whether it can serve; names no tenant",
    "/api/openapi.json": "describes the API, the same for everybody",
}


def settings_dialects(settings: Settings) -> dict[str, Dialect]:
    """Return the dialects as a server with these settings has them."""
    return build_dialects(settings.upstreams)


def every_upstream(provider: FakeProvider) -> dict[str, str]:
    """Return settings that put the fake provider behind every built-in dialect, and behind one of the operator's own."""
    speaks_itself = ("openai", "anthropic", "replicate", "together")
    names = {name: name if name in speaks_itself else "openai" for name in [*DIALECTS, "acme_ai"]}
    return {f"AGENTCACHE_UPSTREAM_{name.upper()}": f"{provider.url}/{spoken}" for name, spoken in names.items()}
