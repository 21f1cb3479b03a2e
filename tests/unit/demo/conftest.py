from __future__ import annotations

import pytest

from agentcache.demo.fake_provider import FakeProvider


@pytest.fixture(scope="module")
def provider():
    with FakeProvider() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_left_over(provider):
    provider.reset()
    yield
    provider.clear_scripts()
