from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.running_gateway import RunningGateway


@dataclass
class Raw:
    """Speaks to the gateway in plain HTTP, so that tests see every header."""

    gateway: RunningGateway
    client: httpx.Client
    key: str

    def ask(self, given: Any, status: int = 200, *, dialect: str = "openai", headers=None, **members: Any):
        body = {"model": "text-embedding-3-small", "input": given, "dimensions": 8, **members}
        response = self.client.post(
            f"{self.gateway.url}/{dialect}/v1/embeddings",
            json=body,
            headers={"x-agentcache-key": self.key, "authorization": "Bearer sk-test", **(headers or {})},
        )
        assert response.status_code == status, response.text
        return response

    def vectors(self, given: Any, **options: Any) -> list[Any]:
        return [item["embedding"] for item in self.ask(given, **options).json()["data"]]


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider: FakeProvider):
    with RunningGateway(tmp_path_factory.mktemp("gateway"), _provider) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: RunningGateway, provider):
    _gateway.events()
    _gateway.written.clear()
    _gateway.clock.ahead_seconds = 0.0
    return _gateway


@pytest.fixture
def raw(gateway, request):
    with httpx.Client(timeout=20) as client:
        # A team of its own for every test: an empty cache.
        yield Raw(gateway, client, gateway.make_key(request.node.name))
