"""Servers and fakes that any test may ask for. Servers start when first asked for and live for the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from agentcache.demo.fake_provider import FakeProvider
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisCluster, RedisServer


@pytest.fixture(scope="session")
def _provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def provider(_provider: FakeProvider) -> Iterator[FakeProvider]:
    """A running fake provider without scripts, calls or counts."""
    _provider.reset()
    yield _provider
    _provider.clear_scripts()


@pytest.fixture(scope="session")
def _redis_url() -> Iterator[str]:
    given = os.environ.get("AGENTCACHE_TEST_REDIS_URL")
    if given:
        yield given
        return
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def redis_url(_redis_url: str) -> str:
    """Address of an empty database on a Redis shared by the session (AGENTCACHE_TEST_REDIS_URL, or one of our own)."""
    with redis.Redis.from_url(_redis_url, protocol=2) as connection:
        connection.flushdb()
    return _redis_url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, to freeze and kill."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def _redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(_redis_cluster: RedisCluster) -> RedisCluster:
    """An empty cluster of three masters, shared by the session."""
    _redis_cluster.flush()
    return _redis_cluster


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a PostgreSQL server for the session (AGENTCACHE_TEST_DATABASE_URL, or one of our own)."""
    given = os.environ.get("AGENTCACHE_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with PostgresServer() as server:
        yield server.create_database()
