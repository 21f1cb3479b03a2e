from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5
from typing import Any

import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.gateway import LightGateway, Reply
from tests.support.reliability import record
from tests.support.sdk_results import plain

PROVIDER_KEY = "sk-canary-acme"
IN_PROVIDERS_PLACE, IN_OUR_HEADER = "key in the provider's place", "key in our own header"


@dataclass
class Desk:
    """Where one test sits: a team of its own, so an empty cache, and one of the two forms of giving both keys."""

    gateway: LightGateway
    provider: FakeProvider
    key: str
    form: str
    _seen: int

    def keys(self) -> tuple[str, dict[str, str]]:
        """Return what goes in as the client's API key, and its default headers."""
        if self.form == IN_PROVIDERS_PLACE:
            return self.key, {"X-Provider-Key": PROVIDER_KEY}
        return PROVIDER_KEY, {"X-AgentCache-Key": self.key}

    def replies(self) -> list[Reply]:
        """Return the gateway's answers since this was last asked."""
        found = self.gateway.replies[self._seen :]
        self._seen = len(self.gateway.replies)
        return found

    async def first(self, ask: Callable[[], Any]) -> Any:
        """Ask what is not cached yet, and return the plain result."""
        self.replies()
        asked_before = self.provider.call_count
        result = await plain(ask())
        assert [reply.cache_status.split("; ")[1] for reply in self.replies()] == ["fwd=miss"]
        assert self.provider.call_count == asked_before + 1
        return result

    async def hit(self, ask: Callable[[], Any]) -> Any:
        """Ask what must be a hit by every sign there is, and return the plain result."""
        self.replies()
        asked_before = self.provider.call_count
        result = await plain(ask())
        assert self.provider.call_count == asked_before
        replies = self.replies()
        assert len(replies) == 1
        assert replies[0].cache_status.startswith("AgentCache; hit; ttl="), replies[0]
        assert replies[0].headers["x-agentcache-freshness"] == "fresh"
        return result

    async def repeats(self, ask: Callable[[], Any]) -> Any:
        """Ask twice; the second time is a hit and gives the same."""
        first = await self.first(ask)
        assert await self.hit(ask) == first
        return first


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider, request):
    with LightGateway(tmp_path_factory.mktemp("gateway"), _provider) as gateway:
        failed_before = request.session.testsfailed
        yield gateway
        if request.session.testsfailed == failed_before:
            client = request.module.__name__.rpartition(".test_")[2]
            hits = sum(reply.cache_status.startswith("AgentCache; hit") for reply in gateway.replies)
            record("official clients", client=client, calls=len(gateway.replies), hits=hits, differences=0)


#: Which client, and where it gives the two keys. The remaining two pairs are in test_credentials.py.
@pytest.fixture(params=[("sync", IN_PROVIDERS_PLACE), ("async", IN_OUR_HEADER)], ids=["sync", "async"])
def style(request):
    return request.param


@pytest.fixture
def is_async(style):
    return style[0] == "async"


@pytest.fixture
def desk(_gateway, provider, request, style):
    key = _gateway.new_key(md5(request.node.nodeid.encode()).hexdigest())
    yield Desk(_gateway, provider, key, style[1], len(_gateway.replies))
    # Whatever the test did: the provider saw its own key, and nothing of ours.
    for call in provider.calls:
        # Output files are public, and fetched without anybody's key.
        assert call.credential == ("" if call.path.startswith("/files/") else PROVIDER_KEY)
        assert not any("ac_live_" in value or "agentcache" in name for name, value in call.header_pairs)
        assert b"ac_live_" not in call.body
