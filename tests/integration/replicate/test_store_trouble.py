"""A cache in trouble costs nobody a prediction."""

from __future__ import annotations

import time

import pytest

from agentcache.engine.stores.port import StoreUnavailable
from tests.integration.replicate.conftest import IMAGE


@pytest.fixture
def breaks(gateway, monkeypatch):
    async def fail(*arguments, **options):
        raise StoreUnavailable

    def break_store(*methods):
        for method in methods:
            monkeypatch.setattr(gateway.parts.entries, method, fail)

    return break_store


def test_without_a_store_predictions_are_the_provider_s(raw, provider, breaks):
    breaks("get", "put", "count")
    answer = raw.create(IMAGE)
    assert answer.json()["output"][0].startswith(provider.url)
    assert "detail=store_unavailable" in answer.headers["cache-status"]
    assert provider.call_count == 1


def test_without_writes_the_output_stays_at_the_provider(raw, provider, breaks):
    breaks("put")
    assert raw.create(IMAGE).json()["output"][0].startswith(provider.url)
    running = raw.create(IMAGE, wait=False, status=202).json()
    while raw.get(running["urls"]["get"]).json()["status"] != "succeeded":
        time.sleep(0.01)


def test_a_hit_whose_files_cannot_be_checked_is_asked_for_again(raw, provider, breaks):
    raw.create(IMAGE)
    breaks("count")
    assert "fwd=" in raw.create(IMAGE).headers["cache-status"]
