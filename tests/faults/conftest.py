"""Gateways that the scenarios share: starting one in processes of its own costs seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import FullGateway
from tests.support.redis_server import RedisServer

#: A machine that runs tests may be busy; what is measured here is not the budget of the store.
PATIENCE: dict[str, Any] = {"AGENTCACHE_STORE_BUDGET_MS": "5000", "AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS": "20"}


@pytest.fixture(scope="session")
def _two_on_sqlite(tmp_path_factory, _provider) -> Iterator[FullGateway]:
    with FullGateway(tmp_path_factory.mktemp("sqlite"), _provider, workers=2, **PATIENCE) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def _two_on_redis(tmp_path_factory, _provider) -> Iterator[FullGateway]:
    with RedisServer() as redis:
        folder = tmp_path_factory.mktemp("redis")
        with FullGateway(folder, _provider, workers=2, AGENTCACHE_REDIS_URL=redis.url, **PATIENCE) as gateway:
            yield gateway


@pytest.fixture(params=["sqlite", "redis"])
def two_workers(request, provider) -> FullGateway:
    """`agentcache serve --workers 2` over each kind of store; prompts must differ between tests."""
    return request.getfixturevalue(f"_two_on_{request.param}")
