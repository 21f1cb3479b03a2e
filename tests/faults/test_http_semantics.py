"""C20: what of HTTP's rules for caches (RFC 9110, 9111) holds on routes that are cached by their body.

What holds for watched sources is in tests/unit/listeners/test_checking.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.support.gateway import LightGateway
from tests.support.reliability import record


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("semantics"), _provider) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    return _gateway


async def ask(gateway: LightGateway, prompt: str, team: str = "acme", **more: Any) -> Any:
    async with client(gateway) as http:
        return await http.post(CHAT_PATH, json=chat(prompt), headers=headers(gateway, team, **more))


#: `Cache-Control` of a request whose answer is 100 seconds old -> status, and what became of it.
REQUESTED = {
    "": (200, "hit"),
    "max-age=200": (200, "hit"),
    "MAX-AGE=200": (200, "hit"),
    "max-age=110": (200, "hit"),
    "max-age=99": (200, "stale"),
    "max-age=0": (200, "stale"),
    "no-cache": (200, "request"),
    "no-cache, max-age=1000": (200, "request"),
    "no-store": (200, "bypass"),
    "no-store, only-if-cached": (400, "invalid_directive"),
    "only-if-cached": (200, "hit"),
    "only-if-cached, max-age=10": (504, "not_cached"),
    # What would be passed over elsewhere is refused: whoever says it relies on it.
    "max-age=-1": (400, "invalid_directive"),
    "max-age=ten": (400, "invalid_directive"),
    "min-fresh=10": (400, "invalid_directive"),
    "max-stale": (400, "invalid_directive"),
    "private": (400, "invalid_directive"),
}


@pytest.mark.parametrize("said", REQUESTED)
async def test_c20_what_a_request_says(gateway, provider, said):
    prompt = f"c20 request {said}"
    first = await ask(gateway, prompt)
    gateway.clock.move(100)
    answer = await ask(gateway, prompt, **({"Cache_Control": said} if said else {}))
    status, became = REQUESTED[said]
    assert answer.status_code == status
    if status == 200:
        assert status_of(answer) == became
        if became == "hit":
            assert (answer.headers["age"], answer.content) == ("100", first.content)
        else:
            assert "age" not in answer.headers and answer.content != first.content
    else:
        assert answer.json()["error"]["code"] == became
    # What may not be stored has not taken the place of what is.
    if became in ("bypass", "invalid_directive", "not_cached"):
        assert (await ask(gateway, prompt)).content == first.content
    record(f"C20 requests {said or 'nothing'}", wrong=0)


async def test_c20_answers_are_shared_by_those_of_one_team_alone(gateway, provider):
    """`Authorization` makes no answer private within a team, which is the cache's user; between teams nothing is shared."""
    first = await ask(gateway, "c20 credentials")
    other_credential = headers(gateway) | {"Authorization": "Bearer sk-another"}
    async with client(gateway) as http:
        same_team = await http.post(CHAT_PATH, json=chat("c20 credentials"), headers=other_credential)
    assert (status_of(same_team), same_team.content) == ("hit", first.content)
    assert status_of(await ask(gateway, "c20 credentials", "globex")) == "miss"
    async with client(gateway) as http:
        stranger = await http.post(CHAT_PATH, json=chat("c20 credentials"), headers={"Authorization": "Bearer sk-x"})
    assert stranger.status_code == 401
    record("C20 credentials", wrong=0)


@pytest.mark.parametrize("said", ["no-store", "private", "no-cache, max-age=0", "s-maxage=0, must-revalidate"])
async def test_c20_what_a_provider_says_of_caches_it_says_to_browsers(gateway, provider, said):
    """Providers mark every answer so; what is kept is what the team's policies say, and between teams nothing is shared."""
    provider.script(headers=(("cache-control", said), ("vary", "*"), ("expires", "0")), times=1)
    first = await ask(gateway, f"c20 provider {said}")
    assert "; stored" in first.headers["cache-status"]
    again = await ask(gateway, f"c20 provider {said}")
    assert (status_of(again), again.content) == ("hit", first.content)
    record(f"C20 provider {said}", wrong=0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_c20_no_other_method_is_answered_from_an_entry(gateway, provider, method):
    await ask(gateway, "c20 method")
    async with client(gateway) as http:
        answer = await http.request(method, CHAT_PATH, headers=headers(gateway))
    assert "; hit" not in answer.headers.get("cache-status", "")
    assert not (200 <= answer.status_code < 300 and answer.content)
    record(f"C20 method {method}", wrong=0)


async def test_c20_a_range_is_no_part_of_an_answer_and_a_condition_no_304(gateway, provider):
    first = await ask(gateway, "c20 range")
    for more in ({"Range": "bytes=0-9"}, {"If_None_Match": "*"}, {"If_Modified_Since": "yesterday"}):
        answer = await ask(gateway, "c20 range", **more)
        assert (answer.status_code, answer.content) == (200, first.content)
    record("C20 ranges", wrong=0)
