from __future__ import annotations

from collections import Counter
from hashlib import md5
from typing import Any

import httpx
import pytest

from tests.support.gateway import LightGateway
from tests.support.honest import Honesty, own_prices
from tests.support.reliability import record


@pytest.fixture(scope="package")
def _honest_gateway(tmp_path_factory, _provider, request):
    folder = tmp_path_factory.mktemp("honest")
    prices = folder / "prices.json"
    prices.write_text(own_prices())
    limits = {"AGENTCACHE_ENTRY_MAX_BYTES": "64KiB", "AGENTCACHE_BODY_MAX_BYTES": "256KiB"}
    with LightGateway(folder, _provider, AGENTCACHE_PRICES_FILE=str(prices), **limits) as gateway:
        checked = Counter()
        failed_before = request.session.testsfailed
        yield gateway, checked
        if request.session.testsfailed == failed_before:
            record("C23", replies_checked=checked["replies"], mislabelled=0)


@pytest.fixture
def honest(_honest_gateway: Any, provider, request):
    """One team's view of a shared gateway, with an empty cache; every answer is held against the truth."""
    gateway, checked = _honest_gateway
    team = md5(request.node.nodeid.encode()).hexdigest()
    with httpx.Client(timeout=20) as client:
        asking = Honesty(gateway, client, team)
        yield asking
    checked["replies"] += asking.checked
