"""Servers and fakes that any test may ask for. Servers start when first asked for and live for the session."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpcore2
import pytest
import redis
from httpx._transports import default as httpx_transport
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from agentcache.demo.fake_provider import FakeProvider
from tests.support.django_project import (  # noqa: F401 - fixtures; Django is set up before any test imports models
    _postgres_pool,
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)
from tests.support.gateway import PATIENCE, FullGateway
from tests.support.guarded import free_port
from tests.support.memory_folder import memory_folder
from tests.support.migrated_records import postgres_server
from tests.support.redis_server import RedisCluster, RedisServer
from tests.support.tiers import IS_RELEASE

# How long an example takes says what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Before a release files are on a disk, with as many rows as that takes.
if not IS_RELEASE and (in_memory := memory_folder()):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(in_memory))

#: Which folders come first: what waits for processes and browsers runs beside what computes, and nothing long is left
#: for the end, when only one process of the run has something to do.
_FIRST = ("browser", "integration", "faults", "contract", "unit", "architecture")

#: Files of one test process, of which each would otherwise start the servers that they share: beginnings of their paths.
_TOGETHER = (
    ("tests/faults/limits/",),
    (
        "tests/faults/test_invalidation_races.py",
        "tests/faults/test_single_flight.py",
        "tests/faults/observing/test_metrics.py",
        "tests/faults/semantic/test_poisoning.py",
        "tests/integration/native/",
    ),
)


class _ByServers(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each file to one process, and files that share servers to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        for together in _TOGETHER:
            if nodeid.startswith(together):
                return together[0]
        scope: str = super()._split_scope(nodeid)
        return scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByServers | None:
    """Have files shared out by the servers they need."""
    return _ByServers(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage while tests are read, nor ever again among what was read: nearly half of the reading was that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for a release, and begin with the folders whose tests take longest."""
    if not IS_RELEASE:
        later = [item for item in items if item.get_closest_marker("release")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if not item.get_closest_marker("release")]
    tests = config.rootpath / "tests"

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Share the default TLS contexts of HTTP clients: to read the system's certificates takes longer than many a test."""
    with pytest.MonkeyPatch.context() as patch:
        of_httpcore = cache(lambda _certificates, trust_env: make_of_httpcore(_trust_env=trust_env))
        of_httpx = cache(lambda _certificates, trust_env: make_of_httpx(trust_env=trust_env))
        make_of_httpcore = httpcore2.default_ssl_context
        make_of_httpx = httpx_transport.create_ssl_context  # type: ignore[attr-defined]  # patched where it is used

        def for_httpx(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
            if verify is True and cert is None:
                return of_httpx(os.environ.get("SSL_CERT_FILE"), trust_env)
            return make_of_httpx(verify=verify, cert=cert, trust_env=trust_env)

        patch.setattr(
            httpcore2,
            "default_ssl_context",
            lambda _trust_env=True: of_httpcore(os.environ.get("SSL_CERT_FILE"), _trust_env),
        )
        patch.setattr(httpx_transport, "create_ssl_context", for_httpx)
        yield


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
    with postgres_server() as server:
        yield server.create_database()


@pytest.fixture(scope="session")
def _two_on_sqlite(tmp_path_factory: pytest.TempPathFactory, _provider: FakeProvider) -> Iterator[FullGateway]:
    settings = PATIENCE | {"AGENTCACHE_METRICS_PORT": str(free_port()), "AGENTCACHE_SEMANTIC_BUDGET_MS": "10000"}
    teams = ("acme", "globex", "native")
    with FullGateway(tmp_path_factory.mktemp("sqlite"), _provider, workers=2, teams=teams, **settings) as gateway:
        yield gateway


@pytest.fixture
def two_on_sqlite(_two_on_sqlite: FullGateway, provider: FakeProvider) -> FullGateway:
    """`agentcache serve --workers 2`, shared by the session; files that ask for it belong into `_TOGETHER`."""
    return _two_on_sqlite
