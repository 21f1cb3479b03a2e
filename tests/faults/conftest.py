"""Gateways that the scenarios share: starting one in processes of its own costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import PATIENCE, FullGateway
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def two_on_redis(tmp_path_factory, _provider) -> Iterator[FullGateway]:
    with RedisServer() as redis:
        folder = tmp_path_factory.mktemp("redis")
        with FullGateway(folder, _provider, workers=2, AGENTCACHE_REDIS_URL=redis.url, **PATIENCE) as gateway:
            yield gateway


@pytest.fixture(params=["sqlite", "redis"])
def two_workers(request, provider) -> FullGateway:
    """`agentcache serve --workers 2` over each kind of store; prompts must differ between tests."""
    return request.getfixturevalue(f"two_on_{request.param}")
