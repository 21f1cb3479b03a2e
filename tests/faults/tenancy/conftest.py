"""A gateway with several tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.gateway import LightGateway
from tests.support.routes import every_upstream


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Iterator[LightGateway]:
    with LightGateway(tmp_path, provider, **every_upstream(provider)) as running:
        yield running
