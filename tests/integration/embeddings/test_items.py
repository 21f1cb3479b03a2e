from __future__ import annotations

import base64
import struct
import threading
import time

import pytest

from agentcache.engine.entries import Selector
from agentcache.gateway.ports import Scope


def unpacked(text):
    raw = base64.b64decode(text)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def wait_for_readers(gateway, count):
    """Wait until so many requests wait for one item."""
    while not any(flight.readers >= count for flight in list(gateway.parts.flights._by_key.values())):
        time.sleep(0.002)


def status_of(response):
    return response.headers["cache-status"]


def test_the_second_call_is_a_hit_with_the_same_body(raw, provider):
    first = raw.ask(["red", "green"])
    second = raw.ask(["red", "green"])
    assert provider.call_count == 1
    assert "fwd=miss" in status_of(first)
    assert "stored" in status_of(first)
    assert "hit" in status_of(second)
    assert first.content == second.content
    assert [item["index"] for item in second.json()["data"]] == [0, 1]


def test_a_partly_known_batch_asks_only_for_the_rest_and_keeps_the_order(raw, provider):
    known = raw.vectors(["b", "d"])
    answer = raw.ask(["a", "b", "c", "d", "a"])
    assert provider.calls[-1].json["input"] == ["a", "c"]
    assert "detail=partial-2-of-5" in status_of(answer)
    data = answer.json()["data"]
    assert [item["index"] for item in data] == [0, 1, 2, 3, 4]
    vectors = [item["embedding"] for item in data]
    assert [vectors[1], vectors[3]] == known
    assert vectors[0] == vectors[4] != vectors[2]
    assert raw.vectors("a") == [vectors[0]]
    assert raw.vectors(["c"]) == [vectors[2]]
    assert provider.call_count == 2


def test_a_repeated_item_is_asked_for_once(raw, provider):
    vectors = raw.vectors(["same", "same", "other"])
    assert provider.calls[-1].json["input"] == ["same", "other"]
    assert vectors[0] == vectors[1] != vectors[2]


def test_token_arrays_and_texts_are_different_items(raw, provider):
    text = raw.vectors("1 2")
    tokens = raw.vectors([1, 2])
    assert text != tokens
    assert raw.vectors([[1, 2], [3]])[0] == tokens[0]
    assert provider.calls[-1].json["input"] == [[3]]


@pytest.mark.parametrize("first", ["float", "base64", None])
def test_both_encodings_share_an_entry_and_say_the_same(raw, provider, first):
    order = [first] + [other for other in ("float", "base64", None) if other != first]
    found = {}
    for encoding in order:
        (found[encoding],) = raw.vectors(["x"], **({"encoding_format": encoding} if encoding else {}))
    assert provider.call_count == 1
    assert found["float"] == found[None]
    assert struct.pack("<8f", *found["float"]) == base64.b64decode(found["base64"])


def test_a_caller_of_floats_reads_what_the_provider_sent(raw, provider):
    provider.script(times=1)
    direct = raw.client.post(
        f"{provider.url}/openai/v1/embeddings",
        json={"model": "text-embedding-3-small", "input": ["direct"], "dimensions": 8},
        headers={"authorization": "Bearer sk-test"},
    ).json()["data"][0]["embedding"]
    assert raw.vectors(["direct"]) == raw.vectors(["direct"]) == [direct]


def test_dimensions_and_model_keep_items_apart(raw, provider):
    raw.ask("x")
    assert len(raw.vectors("x", dimensions=4)[0]) == 4
    raw.ask("x", model="text-embedding-3-large")
    assert provider.call_count == 3


def test_user_and_encoding_do_not(raw, provider):
    raw.ask("x", user="ada")
    raw.ask("x", user="bob", encoding_format="base64")
    assert provider.call_count == 1


def test_usage_is_the_sum_of_the_items(raw):
    whole = raw.ask(["one", "two words", "and three words"]).json()["usage"]
    assert whole == {"prompt_tokens": 9, "total_tokens": 9}
    assert raw.ask(["one", "two words", "and three words"]).json()["usage"] == whole
    single = [raw.ask(text).json()["usage"]["prompt_tokens"] for text in ("one", "two words", "and three words")]
    assert sum(single) == 9


def test_saved_and_paid_are_metered_apart(raw, gateway):
    raw.ask(["alpha beta gamma", "delta"], model="text-embedding-3-large")
    raw.ask(["alpha beta gamma", "delta", "epsilon zeta"], model="text-embedding-3-large")
    raw.ask(["alpha beta gamma", "delta", "epsilon zeta"], model="text-embedding-3-large")
    first, second, third = gateway.events()
    assert [event.outcome for event in (first, second, third)] == ["miss", "miss", "exact"]
    assert first.cost_usd_nanos == 6 * 130
    assert first.saved_usd_nanos == 0
    assert second.saved_usd_nanos == first.cost_usd_nanos
    assert (third.cost_usd_nanos, third.saved_usd_nanos) == (0, first.cost_usd_nanos + second.cost_usd_nanos)
    assert third.input_tokens == 9


def test_two_thousand_items_are_stored_and_found(raw, provider):
    items = [f"item {number}" for number in range(2048)]
    first = raw.ask(items, encoding_format="base64")
    assert "stored" in status_of(first)
    second = raw.ask(items, encoding_format="base64")
    assert "hit" in status_of(second)
    assert first.content == second.content
    assert provider.call_count == 1


@pytest.mark.parametrize(
    ("headers", "is_stored"),
    [
        ({"cache-control": "no-store"}, False),
        ({"x-agentcache-mode": "off"}, False),
        ({"x-agentcache-mode": "read-only"}, False),
        ({"x-agentcache-mode": "write-only"}, True),
        ({"x-agentcache-mode": "refresh"}, True),
        ({"cache-control": "no-cache"}, True),
    ],
)
def test_directives_decide_what_is_read_and_written(raw, provider, headers, is_stored):
    raw.ask(["x"], headers=headers)
    raw.ask(["x"])
    assert provider.call_count == (1 if is_stored else 2)
    raw.ask(["x"], headers=headers)
    reads = headers == {"x-agentcache-mode": "read-only"}
    assert provider.call_count == (1 if is_stored else 2) + (0 if reads else 1)


def test_only_if_cached_needs_every_item(raw, provider):
    raw.ask(["x"])
    raw.ask(["x"], headers={"cache-control": "only-if-cached"})
    refused = raw.ask(["x", "y"], 504, headers={"cache-control": "only-if-cached"})
    assert refused.json()["error"]["code"] == "not_cached"
    assert provider.call_count == 1


def test_buckets_namespaces_and_teams_keep_items_apart(raw, gateway, provider):
    raw.ask("x")
    raw.ask("x", headers={"x-agentcache-bucket": "2"})
    raw.ask("x", headers={"x-agentcache-namespace": "eval"})
    raw.ask("x", headers={"x-agentcache-key": gateway.make_key("somebody else")})
    assert provider.call_count == 4


def test_input_cannot_be_ignored(raw, provider):
    refused = raw.ask(["x"], 400, headers={"x-agentcache-ignore": "input[0]"})
    assert refused.json()["error"]["code"] == "invalid_directive"
    assert provider.call_count == 0


def test_an_entry_ends_with_its_lifetime(raw, gateway, provider):
    raw.ask(["x"], headers={"x-agentcache-ttl": "60"})
    gateway.clock.ahead_seconds = 61
    answer = raw.ask(["x"])
    assert "fwd=stale" in status_of(answer)
    assert provider.call_count == 2


def test_expired_items_stand_in_when_the_provider_fails_and_the_caller_agrees(raw, gateway, provider):
    fresh = raw.ask(["x", "y"], headers={"x-agentcache-ttl": "60"})
    gateway.clock.ahead_seconds = 61
    provider.script(status=500, times=None)
    raw.ask(["x", "y"], 500)
    stale = raw.ask(["x", "y"], headers={"cache-control": "stale-if-error=600"})
    assert stale.content == fresh.content
    assert "detail=stale-if-error" in status_of(stale)
    assert gateway.events()[-1].outcome == "stale"


def test_items_older_than_max_age_do_not_stand_in_unasked(raw, gateway, provider):
    raw.ask(["x", "y"])
    gateway.clock.ahead_seconds = 61
    provider.script(status=500, times=None)
    raw.ask(["x", "y"], 500, headers={"cache-control": "max-age=30"})
    assert "hit" in status_of(raw.ask(["x", "y"], headers={"cache-control": "max-age=30, stale-if-error=60"}))


def test_invalidated_items_are_asked_for_again(raw, gateway, provider):
    raw.ask(["x"], headers={"x-agentcache-tags": "docs"})
    raw.ask(["y"])
    tenant = gateway.principals[raw.key].tenant
    assert gateway.run(gateway.parts.entries.invalidate(tenant, Selector(tags=("docs",)))) == 1
    raw.ask(["x", "y"])
    assert provider.calls[-1].json["input"] == ["x"]


def test_a_key_that_may_not_write_reads_and_stores_nothing(raw, gateway, provider):
    reader = gateway.make_key(gateway.principals[raw.key].tenant.id, frozenset({Scope.CACHE_READ}))
    answer = raw.ask(["x"], headers={"x-agentcache-key": reader})
    assert "detail=not_asked" in status_of(answer)
    raw.ask(["x"])
    raw.ask(["x"], headers={"x-agentcache-key": reader})
    assert provider.call_count == 2


def test_unknown_forms_of_input_go_to_the_provider_untouched(raw, provider):
    raw.ask([], 400)
    raw.ask(["fine", 7], 400)
    raw.ask("x", 200, encoding_format="binary")
    assert [call.json["input"] for call in provider.calls] == [[], ["fine", 7], "x"]


def test_a_refusal_of_a_part_is_told_about_the_whole(raw, provider):
    raw.ask(["good"])
    refused = raw.ask(["good", ""], 400)
    assert provider.calls[-1].json["input"] == ["good", ""]
    assert refused.json()["error"]["param"] == "input"
    assert provider.call_count == 3


def test_an_error_is_relayed_and_never_stored(raw, provider):
    provider.script(status=429, retry_after="7")
    refused = raw.ask(["x"], 429)
    assert refused.headers["retry-after"] == "7"
    raw.ask(["x"])
    assert provider.call_count == 2


def test_callers_at_the_same_time_share_each_item(raw, gateway, provider):
    provider.script(hold=True, times=1)
    answers = {}

    def ask(name, items):
        answers[name] = raw.ask(items)

    first = threading.Thread(target=ask, args=("first", ["a", "b"]))
    first.start()
    provider.wait_for_calls(1)
    second = threading.Thread(target=ask, args=("second", ["b", "a", "c"]))
    second.start()
    provider.wait_for_calls(2)
    third = threading.Thread(target=ask, args=("third", ["b"]))
    third.start()
    wait_for_readers(gateway, 2)
    provider.release()
    for thread in (first, second, third):
        thread.join(10)
    assert [call.json["input"] for call in provider.calls] == [["a", "b"], ["c"]]
    vectors = {name: [item["embedding"] for item in answer.json()["data"]] for name, answer in answers.items()}
    assert vectors["second"][:2] == vectors["first"][::-1]
    assert vectors["third"] == vectors["second"][:1]
    assert sorted(event.outcome for event in gateway.events()) == ["coalesced", "miss", "miss"]


def test_a_waiting_caller_asks_itself_when_the_other_fails(raw, provider):
    provider.script(hold=True, status=500, times=1)
    answers = {}

    def ask(name, status):
        answers[name] = raw.ask(["x"], status)

    first = threading.Thread(target=ask, args=("first", 500))
    first.start()
    provider.wait_for_calls(1)
    second = threading.Thread(target=ask, args=("second", 200))
    second.start()
    wait_for_readers(raw.gateway, 2)
    provider.release()
    first.join(10)
    second.join(10)
    assert provider.call_count == 2
    assert "fwd=miss" in status_of(answers["second"])
