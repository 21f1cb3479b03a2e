from __future__ import annotations

import pytest

from agentcache.accounts import hashing


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch, request):
    """Hash passwords at a fraction of the cost, where neither the cost nor the time is what a test is about."""
    if "real_hashes" not in request.fixturenames:
        monkeypatch.setattr(hashing.Argon2id, "memory_cost", 1024)


@pytest.fixture
def real_hashes():
    """Hash passwords as the product does."""
