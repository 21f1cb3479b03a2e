"""Every route is held to limits, each call is counted once, and what is refused is on record: two workers, callers at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.scenes import chat, client, headers
from tests.support.guarded import wait_until

# The window of refused calls is waited for in a fixture, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

CHAT = "/openai/v1/chat/completions"
EMBEDDINGS = "/openai/v1/embeddings"
PREDICTIONS = "/replicate/v1/models/acme/writer/predictions"


async def at_once(gateway, team, number, ask):
    """Make `number` calls over connections that both workers take; `ask(http, turn, headers)` makes one."""
    gate = asyncio.Semaphore(24)

    async def one(http, turn):
        async with gate:
            return await ask(http, turn, headers(gateway, team))

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(gateway)) for _ in range(8)]
        return await asyncio.gather(*(one(clients[turn % 8], turn) for turn in range(number)))


def codes(answers):
    return Counter(answer.status_code for answer in answers)


def of_team(gateway, team):
    return [event for event in gateway.events if event.tenant_id == gateway.team_id(team)]


def requests_of(gateway, team, **members):
    return sum(
        event.requests
        for event in of_team(gateway, team)
        if all(getattr(event, name) == value for name, value in members.items())
    )


def look_up(http, turn, given):
    return http.post("/api/cache/get", json={"provider": "openai", "prompt": f"question {turn}"}, headers=given)


def keep(http, turn, given):
    return http.post(
        "/api/cache/set", json={"provider": "openai", "prompt": f"question {turn}", "value": turn}, headers=given
    )


def embed(http, turn, given):
    body = {"model": "text-embedding-3-small", "input": [f"text {turn}", "the same"], "dimensions": 8}
    return http.post(EMBEDDINGS, json=body, headers=given)


def predict(http, turn, given):
    body = {"input": {"prompt": f"a fox {turn}", "seed": 7}}
    return http.post(PREDICTIONS, json=body, headers={**given, "Prefer": "wait"})


def ask_as_many(http, turn, given):
    """Ask as agents and in namespaces of which there is one for each call."""
    given = {**given, "X-AgentCache-Agent": f"agent {turn}", "X-AgentCache-Namespace": f"n{turn}"}
    return http.post(CHAT, json=chat("flood"), headers=given)


def ask_costly(http, turn, given):
    return http.post(CHAT, json=chat(f"costly {turn}", max_tokens=100), headers=given)


@dataclass(frozen=True)
class Asked:
    """What one team asked at once, and how it was answered."""

    answers: list[Any]
    seconds: float

    @property
    def codes(self):
        return codes(self.answers)

    @property
    def refused(self):
        return [answer for answer in self.answers if answer.status_code == 429]


@pytest.fixture(scope="module")
def asked(limited):
    """What each team was answered; all of it is on record by now.

    Refused calls become rows when their window of 15 s ends, which is waited for once.
    """
    for team in ("native0", "batch0", "batch1"):
        limited.set_behaviour(team, serves_hits=False)
    limited.set_limit("native0", requests_per_month=40)
    limited.set_limit("batch0", requests_per_month=30)
    limited.set_limit("batch1", requests_per_month=30)
    limited.set_limit("flood", requests_per_minute=1)
    limited.set_limit("budget0", budget_usd_nanos_per_month=1, requests_per_month=100)
    assert codes(asyncio.run(at_once(limited, "native0", 60, keep))) == {201: 60}
    calls = {
        "native0": (100, look_up), "batch0": (80, embed), "batch1": (80, predict), "flood": (400, ask_as_many),
        "budget0": (120, ask_costly),
    }  # fmt: skip
    asked = {}
    for team, (number, ask) in calls.items():
        began = time.monotonic()
        answers = asyncio.run(at_once(limited, team, number, ask))
        asked[team] = Asked(answers, time.monotonic() - began)
    expected = {team: len(one.refused) for team, one in asked.items()}

    def all_on_record():
        return all(
            requests_of(limited, team, outcome="refused") >= number and requests_of(limited, team) >= calls[team][0]
            for team, number in expected.items()
        )

    wait_until(all_on_record, what="the usage to be recorded", seconds=100)
    return asked


def test_a_native_look_up_is_a_request_and_keeping_is_none(limited, asked):
    found = asked["native0"]
    assert found.codes == {200: 40, 429: 60}
    refused = found.refused[0]
    assert refused.json()["code"] == "quota_exceeded"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["x-agentcache-limit"].startswith("team; measure=requests; reset=")
    wait_until(lambda: requests_of(limited, "native0") >= 160, what="what was kept to be recorded", seconds=60)
    assert limited.use("native0")[0] == 40
    assert max(limited.use("native0")) == 40
    assert requests_of(limited, "native0", outcome="refused", reason="quota_exceeded") == 60
    looked_up = requests_of(limited, "native0", outcome="exact") + requests_of(limited, "native0", outcome="miss")
    assert looked_up == 40


async def test_beyond_the_quota_native_hits_are_served_and_misses_refused(limited, provider):
    limited.set_limit("native1", requests_per_month=5)
    await at_once(limited, "native1", 5, keep)
    assert codes(await at_once(limited, "native1", 5, look_up)) == {200: 5}
    assert codes(await at_once(limited, "native1", 12, look_up)) == {200: 5, 429: 7}


async def test_every_native_call_is_held_to_a_rate(limited, provider):
    limited.set_limit("native2", requests_per_minute=30)

    async def any_call(http, turn, given):
        match turn % 4:
            case 0:
                return await keep(http, turn, given)
            case 1:
                return await look_up(http, turn, given)
            case 2:
                return await http.get("/api/cache/entries", headers=given)
            case _:
                return await http.post("/api/cache/purge", json={"tags": ["nothing"]}, headers=given)

    began = time.monotonic()
    answers = await at_once(limited, "native2", 160, any_call)
    let_in = sum(answer.status_code < 400 for answer in answers)
    # One comes back every two seconds that the asking takes.
    assert 30 <= let_in <= 31 + (time.monotonic() - began) / 2
    assert codes(answers)[429] == 160 - let_in
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    passed = next(answer for answer in answers if answer.status_code < 400)
    assert passed.headers["ratelimit-policy"] == '"team";q=30;w=60'


@pytest.mark.parametrize(("team", "good"), [("batch0", 200), ("batch1", 201)])
def test_embeddings_and_predictions_are_held_to_the_number(limited, asked, team, good):
    assert asked[team].codes == {good: 30, 429: 50}
    assert limited.use(team)[0] == 30
    assert max(limited.use(team)) == 30
    assert requests_of(limited, team, outcome="refused") == 50


def test_a_flood_of_refused_calls_is_counted_and_makes_few_rows(limited, asked):
    flood = asked["flood"]
    refused = len(flood.refused)
    assert 0 < 400 - refused <= 2 + flood.seconds / 60
    assert requests_of(limited, "flood", outcome="refused") == refused
    rows = [event for event in of_team(limited, "flood") if event.outcome == "refused"]
    # For each worker and window: nine kinds, each with a first row and one for the rest.
    assert len(rows) <= 2 * 9 * 2 * (1 + flood.seconds / 15)
    assert {event.reason for event in rows} == {"rate_limited"}
    assert limited.use("flood")[0] == 400 - refused


def test_a_call_that_the_budget_refuses_takes_nothing_from_the_quota(limited, asked):
    answers = asked["budget0"].answers
    assert codes(answers) == {429: 120}
    assert {answer.headers["x-agentcache-error"] for answer in answers} <= {"budget_exceeded", "quota_exceeded"}
    assert requests_of(limited, "budget0", outcome="refused") == 120
    assert limited.use("budget0")[0] == 0


def test_what_costs_nothing_passes_a_budget_that_is_used_up(limited, asked):
    def ask(http, turn, given):
        return http.get("/openai/v1/models", headers=given)

    answers = asyncio.run(at_once(limited, "budget0", 4, ask))
    assert all("x-agentcache-error" not in answer.headers for answer in answers)


async def test_a_hard_budget_refuses_what_has_no_price_and_nothing_that_is_free(limited, provider):
    limited.set_limit("unpriced0", budget_usd_nanos_per_month=10**12)
    homemade = {**chat("of no price"), "model": "homemade"}
    given = headers(limited, "unpriced0")
    async with client(limited) as http:
        refused = [
            await http.post(CHAT, json=homemade, headers=given),
            await http.post(PREDICTIONS, json={"input": {"prompt": "of no price"}}, headers=given),
            await http.post("/openai/v1/audio/transcriptions", content=b"sound", headers=given),
        ]
        passed = [
            await http.post(CHAT, json=chat("of a price"), headers=given),
            await http.get("/openai/v1/models", headers=given),
            await http.post("/openai/v1/files", content=b"lines", headers=given),
        ]
    assert [(answer.status_code, answer.headers["x-agentcache-error"]) for answer in refused] == [
        (403, "price_unknown")
    ] * 3
    assert {answer.headers["x-should-retry"] for answer in refused} == {"false"}
    assert "openai/homemade" in refused[0].json()["error"]["message"]
    assert passed[0].status_code == 200
    assert all("x-agentcache-error" not in answer.headers for answer in passed[1:])
    wait_until(lambda: requests_of(limited, "unpriced0", outcome="refused") == 3, what="the refusals on record")
