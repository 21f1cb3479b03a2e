"""What policies do to real calls: which times an entry gets, what stays out, and which requests are the same."""

from __future__ import annotations

import httpx
import pytest

from agentcache.engine.policies import NO_POLICIES, Match, Policy, PolicySet
from tests.faults.scenes import CHAT_PATH, chat, entries, headers, status_of
from tests.support.gateway import LightGateway

POLICIES = PolicySet(
    1,
    (
        Policy("secret", "Secret", Match(prompt="(?i)password"), stores=False),
        Policy("by-tag", "By tag", Match(tags=("fast",)), lifetime_seconds=60, stale_if_error_seconds=600),
        Policy("cold", "Cold", Match(temperature_max=0.2), lifetime_seconds=900, ignore=(("metadata", "trace"), ("seed",))),
        Policy("rest", "Rest é", Match(models=("gpt-4o*", "text-embedding-*")), lifetime_seconds=300),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("policies"), _provider) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    _gateway.set_policies(_gateway.key(), POLICIES)
    _gateway.clock.move(6)
    return _gateway


def ask(gateway, body, path=CHAT_PATH, **more):
    return httpx.post(gateway.url + path, json=body, headers=headers(gateway, **more), timeout=20)


def entry(gateway, answer):
    found = gateway.run(gateway.parts.entries.get(gateway.tenant(), bytes.fromhex(answer.headers["x-agentcache-key"])))
    return found.entry.meta


@pytest.mark.parametrize(
    ("body", "more", "lifetime", "window", "policy"),
    [
        ({}, {}, 300, 0, "Rest ?"),
        ({"temperature": 0.1}, {}, 900, 0, "Cold"),
        ({"temperature": 0.3}, {}, 300, 0, "Rest ?"),
        ({"temperature": 0.1}, {"X_AgentCache_Tags": "fast,x"}, 60, 600, "By tag"),
        ({}, {"X_AgentCache_TTL": "2h"}, 7200, 0, "Rest ?"),
        ({}, {"X_AgentCache_TTL": "2h", "X_AgentCache_Tags": "fast"}, 7200, 600, "By tag"),
        ({"model": "o3"}, {}, 604_800, 0, None),
    ],
)  # fmt: skip
def test_the_first_policy_gives_times_and_the_caller_goes_before_it(gateway, body, more, lifetime, window, policy):
    answer = ask(gateway, chat(f"times {body} {more}") | body, **more)
    meta = entry(gateway, answer)
    assert (meta.lifetime_seconds, meta.stale_if_error_seconds) == (lifetime, window)
    assert answer.headers.get("x-agentcache-policy") == policy
    event = gateway.events[-1]
    assert event.policy == {"Rest ?": "rest", "Cold": "cold", "By tag": "by-tag", None: ""}[policy]
    assert event.temperature_milli == int(body.get("temperature", -0.001) * 1000)
    assert event.tags == ",".join(sorted(filter(None, more.get("X_AgentCache_Tags", "").split(","))))


@pytest.mark.parametrize("more", [{}, {"X_AgentCache_Mode": "on"}, {"X_AgentCache_TTL": "1h"}])
def test_what_is_kept_out_is_neither_read_nor_stored(gateway, provider, more):
    before, calls = entries(gateway), provider.call_count
    for _ in range(2):
        answer = ask(gateway, chat("my password is …"), **more)
        assert (status_of(answer), "detail=policy" in answer.headers["cache-status"]) == ("bypass", True)
    assert (entries(gateway), provider.call_count) == (before, calls + 2)
    own = {"X-AgentCache-Key": gateway.key()}
    asked = {"provider": "openai", "model": "gpt-4o-mini", "messages": chat("my password is …")["messages"]}
    explained = httpx.post(f"{gateway.url}/api/cache/explain", json=asked, headers=own).json()
    assert (explained["bypass"], explained["policy"]) == ("policy", "Secret")
    refused = httpx.post(f"{gateway.url}/api/cache/set", json={**asked, "value": {"a": 1}}, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (403, "kept_out_by_policy")


def test_a_new_policy_keeps_out_what_was_a_known_hit(gateway, provider):
    gateway.set_policies(gateway.key(), NO_POLICIES)
    gateway.clock.move(6)
    question = chat("known password")
    with httpx.Client(base_url=gateway.url, timeout=20) as http:
        for _ in range(4):
            answer = http.post(CHAT_PATH, json=question, headers=headers(gateway))
        known = gateway.known_hits
        assert status_of(answer) == "hit"
        gateway.set_policies(gateway.key(), POLICIES)
        gateway.clock.move(6)
        assert status_of(http.post(CHAT_PATH, json=question, headers=headers(gateway))) == "bypass"
        assert gateway.known_hits == known


def test_known_hits_stay_known_under_policies(gateway, provider):
    question = chat("well known")
    with httpx.Client(base_url=gateway.url, timeout=20) as http:
        http.post(CHAT_PATH, json=question, headers=headers(gateway))
        known = gateway.known_hits
        for _ in range(5):
            assert status_of(http.post(CHAT_PATH, json=question, headers=headers(gateway))) == "hit"
        assert gateway.known_hits >= known + 3
        gateway.clock.move(301)
        assert status_of(http.post(CHAT_PATH, json=question, headers=headers(gateway))) == "stale"


def test_ignored_paths_make_requests_the_same_and_nothing_else_does(gateway, provider):
    def cold(**more):
        return ask(gateway, chat("ignored", temperature=0.0, **more))

    first = cold(metadata={"trace": "1", "user": "a"}, seed=1)
    assert status_of(cold(metadata={"trace": "2", "user": "a"}, seed=2)) == "hit"
    assert status_of(cold(metadata={"trace": "2", "user": "a"})) == "hit"
    assert status_of(cold(top_p=0.5)) == "miss"
    # Who asks to ignore the same paths without a policy has the same key; whoever ignores others has not.
    warm = chat("ignored", temperature=0.9, seed=1)
    with_header = ask(gateway, warm, X_AgentCache_Ignore="seed")
    assert with_header.headers["x-agentcache-key"] != ask(gateway, warm).headers["x-agentcache-key"]
    gateway.set_policies(gateway.key(), NO_POLICIES)
    gateway.clock.move(6)
    same = ask(
        gateway, chat("ignored", temperature=0.0, metadata={"trace": "9"}, seed=9), X_AgentCache_Ignore="metadata.trace,seed"
    )  # fmt: skip
    assert same.headers["x-agentcache-key"] == first.headers["x-agentcache-key"] and status_of(same) == "hit"


def test_the_native_api_finds_and_keeps_by_the_same_policy(gateway, provider):
    body = chat("native", temperature=0.1, seed=4)
    stored = ask(gateway, body)
    own = {"X-AgentCache-Key": gateway.key()}
    asked = {"provider": "openai", "endpoint": "chat.completions", "request": body | {"seed": 5}}
    found = httpx.post(f"{gateway.url}/api/cache/get", json=asked, headers=own).json()
    assert (found["hit"], found["key"]) == (True, stored.headers["x-agentcache-key"])
    given = {"provider": "openai", "prompt": "Which port?", "model": "gpt-4o", "value": "8787"}
    assert httpx.post(f"{gateway.url}/api/cache/set", json=given, headers=own).json()["ttl"] == 300
    assert httpx.post(f"{gateway.url}/api/cache/set", json=given | {"ttl": 5}, headers=own).json()["ttl"] == 5
    assert httpx.post(f"{gateway.url}/api/cache/set", json=given | {"tags": ["fast"]}, headers=own).json()["ttl"] == 60


def test_embeddings_and_predictions_get_their_times_too(gateway, provider):
    embedded = ask(gateway, {"model": "text-embedding-3-small", "input": "policies"}, "/openai/v1/embeddings")
    assert entry(gateway, embedded).lifetime_seconds == 300
    assert embedded.headers["x-agentcache-policy"] == "Rest ?"
    predicted = ask(
        gateway, {"version": "ab" * 32, "input": {"prompt": "policies", "seed": 3}}, "/replicate/v1/predictions",
        X_AgentCache_Tags="fast", Prefer="wait",
    )  # fmt: skip
    assert predicted.status_code == 201 and entry(gateway, predicted).lifetime_seconds == 60
    assert entry(gateway, predicted).stale_if_error_seconds == 600


def test_callers_whose_entries_would_differ_share_no_flight(gateway, provider):
    from concurrent.futures import ThreadPoolExecutor

    provider.script(hold=True, times=2)
    calls = provider.call_count
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(ask, gateway, chat("shared"))
        tagged = pool.submit(ask, gateway, chat("shared"), X_AgentCache_Tags="fast")
        provider.wait_for_calls(calls + 2)
        provider.release()
        answers = {status_of(plain.result()), status_of(tagged.result())}
    assert answers == {"miss"}
