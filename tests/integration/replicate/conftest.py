from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import replicate

from agentcache.demo.fake_provider import FakeProvider
from tests.support.running_gateway import RunningGateway

TEXT, IMAGE, CAPTION = "acme/writer", "acme/flux", "acme/captioner"


@dataclass
class Raw:
    """Speaks to the gateway in plain HTTP, so that tests see every header."""

    gateway: RunningGateway
    client: httpx.Client
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-agentcache-key": self.key, "authorization": "Bearer r8_test"}

    def create(self, model: str = TEXT, status: int = 201, *, wait: bool = True, headers=None, body=None, **given: Any):
        path = f"/replicate/v1/models/{model}/predictions"
        prefer = {"prefer": "wait"} if wait else {}
        response = self.client.post(
            self.gateway.url + path,
            json={"input": {"prompt": "a fox", "seed": 7, **given}, **(body or {})},
            headers={**self.headers, **prefer, **(headers or {})},
        )
        assert response.status_code == status, response.text
        return response

    def get(self, url: str, status: int = 200):
        response = self.client.get(url, headers=self.headers)
        assert response.status_code == status, response.text
        return response


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider: FakeProvider):
    with RunningGateway(tmp_path_factory.mktemp("gateway"), _provider) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: RunningGateway, provider):
    _gateway.events()
    _gateway.written.clear()
    _gateway.jobs.clear()
    _gateway.takes_jobs = True
    _gateway.clock.ahead_seconds = 0.0
    return _gateway


@pytest.fixture
def raw(gateway, request):
    with httpx.Client(timeout=20) as client:
        # A team of its own for every test: an empty cache.
        yield Raw(gateway, client, gateway.make_key(re.sub(r"\W+", "-", request.node.name)))


@pytest.fixture
def sdk(gateway, raw, monkeypatch):
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
    return replicate.Client(api_token=raw.key, base_url=gateway.url + "/replicate", headers={"X-Provider-Key": "r8_x"})


@pytest.fixture
def client(sdk):
    """The official client, with the AgentCache key in the provider's usual place."""
    with sdk._client:
        yield sdk


@pytest.fixture
async def async_client(sdk):
    """The same, for its asynchronous methods."""
    async with sdk._async_client:
        yield sdk
