"""A gateway whose every route tests knock at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.gateway import FullGateway, LightGateway
from tests.support.routes import every_upstream


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Iterator[LightGateway]:
    with LightGateway(tmp_path, provider, **every_upstream(provider)) as running:
        yield running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, _provider: FakeProvider) -> Iterator[FullGateway]:
    """Both planes as they are delivered, logging everything they would ever log."""
    settings: dict[str, Any] = {**every_upstream(_provider), "AGENTCACHE_LOG_LEVEL": "debug"}
    # Knocking with thousands of keys is what is done here.
    settings["AGENTCACHE_KEY_FAILURES_PER_MINUTE"] = "1000000"
    with FullGateway(tmp_path_factory.mktemp("server"), _provider, **settings) as running:
        yield running
