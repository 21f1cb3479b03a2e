"""Whoever tries keys is slowed down, each dialect says so, and who shares the address with a valid key is let in."""

from __future__ import annotations

import httpx
import pytest

from agentcache.kit.api_keys import new_api_key
from tests.faults.scenes import CHAT_PATH, MESSAGES_PATH, chat, message
from tests.support.gateway import LightGateway
from tests.support.reliability import record


@pytest.fixture
def strict(tmp_path, provider):
    with LightGateway(tmp_path, provider, AGENTCACHE_KEY_FAILURES_PER_MINUTE="60") as gateway:
        yield gateway


def ask(http, key, path=CHAT_PATH, body=None):
    given = {"X-AgentCache-Key": key, "Authorization": "Bearer sk-test", "x-api-key": "sk-test"}
    return http.post(path, json=body or chat("hello"), headers=given)


def misspelt():
    key = new_api_key()
    return key[:-1] + ("0" if key[-1] != "0" else "1")


def test_failing_keys_are_slowed_down_and_a_valid_one_is_let_in(strict, provider, monkeypatch):
    asked = []
    find = strict.control_plane.find_principal

    async def noting(api_key):
        asked.append(api_key)
        return await find(api_key)

    monkeypatch.setattr(strict.control_plane, "find_principal", noting)
    with httpx.Client(base_url=strict.url, timeout=20) as http:
        assert ask(http, strict.key()).status_code == 200
        answers = [ask(http, misspelt()) for _ in range(300)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:60] == [401] * 60
        assert set(statuses[60:]) == {401, 429} or set(statuses[60:]) == {429}
        # One comes back each second that the asking takes.
        assert statuses.count(401) <= 60 + 30
        # The keys were misspelt, so nobody was asked about them.
        assert asked == [strict.key()]
        refused = answers[statuses.index(429)]
        assert refused.headers["x-agentcache-error"] == "too_many_key_failures"
        assert refused.json()["error"]["code"] == "too_many_key_failures"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-should-retry"] == "false"
        # Known to this process, and new to it: whoever has a valid key gets in.
        assert ask(http, strict.key()).status_code == 200
        assert ask(http, strict.new_key("globex")).status_code == 200
        # Well-formed keys that nobody has count as well.
        statuses = [ask(http, new_api_key()).status_code for _ in range(20)]
        assert statuses.count(429) >= 10
        strict.clock.move(61)
        assert ask(http, misspelt()).status_code == 401
    record("A9", failing_keys=300, allowed=60, valid_keys_refused=0)


@pytest.mark.parametrize(
    ("path", "body", "at"),
    [
        (MESSAGES_PATH, message("hello"), ("error", "type")),
        ("/replicate/v1/models/acme/writer/predictions", {"input": {}}, ("status",)),
        ("/api/cache/get", {"provider": "openai", "prompt": "x"}, ("code",)),
    ],
)
def test_each_dialect_is_told_in_its_own_shape(strict, provider, path, body, at):
    with httpx.Client(base_url=strict.url, timeout=20) as http:
        refused = next(
            answer for answer in (ask(http, misspelt(), path, body) for _ in range(200)) if answer.status_code == 429
        )
        told = refused.json()
        for name in at:
            told = told[name]
        assert told in ("rate_limit_error", 429, "too_many_key_failures")
        assert int(refused.headers["retry-after"]) >= 1
