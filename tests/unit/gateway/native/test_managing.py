from __future__ import annotations

import pytest

from tests.unit.gateway.native.samples import QUESTION, chat_answer


async def fill(bench, number=3, **members):
    keys = []
    for index in range(number):
        request = {**QUESTION, "seed": index}
        asked = {"provider": "openai", "request": request, "value": chat_answer(str(index) or "0"), **members}
        keys.append((await bench.post("set", asked, 201))["key"])
        bench.clock.move(1)
    return keys


async def test_entries_are_listed_newest_first_in_pages(bench):
    keys = await fill(bench, 5)
    seen, cursor = [], ""
    for expected in (2, 2, 1):
        page = await bench.get(f"entries?limit=2&cursor={cursor}")
        assert len(page["entries"]) == expected
        seen += [entry["key"] for entry in page["entries"]]
        cursor = page["cursor"]
    assert cursor == ""
    assert seen == keys[::-1]


async def test_a_listed_entry_tells_everything_but_its_value(bench):
    request = {"provider": "openai", "request": QUESTION, "value": chat_answer(), "ttl": 100, "cost_usd": 0.5}
    stored = await bench.post("set", {**request, "tags": ["b", "a"], "sources": ["https://example.com/x"]}, 201)
    bench.clock.move(80)
    await bench.post("get", {"key": stored["key"]})
    (entry,) = (await bench.get("entries"))["entries"]
    assert entry == {
        "key": stored["key"],
        "namespace": "default",
        "dialect": "openai",
        "endpoint": "chat.completions",
        "model": "gpt-4o-mini",
        "label": "chat.completions",
        "key_space": "provider",
        "freshness": "stale",
        "age": 80,
        "ttl": 20,
        "stored_at": "2027-01-15T08:00:00.000Z",
        "expires_at": "2027-01-15T08:01:40.000Z",
        "stale_while_revalidate": 0,
        "stale_if_error": 0,
        "marked_stale_at": None,
        "tags": ["a", "b"],
        "sources": ["https://example.com/x"],
        "bytes": stored["bytes"],
        "hits": 1,
        "last_used_at": "2027-01-15T08:01:20.000Z",
        "cost_usd": 0.5,
        "input_tokens": 1000,
        "output_tokens": 500,
        "status": 200,
        "content_type": "application/json",
        "streamed": False,
        "writer": "key_1",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("namespace=prod", {"prod"}),
        ("dialect=anthropic", {"other"}),
        ("model=gpt-4o", {"model"}),
        ("tag=red", {"tagged"}),
        ("source=https://example.com/a", {"sourced"}),
        ("pattern=prod/*", {"prod"}),
        ("pattern=*/named/42", {"named"}),
        ("pattern=*&tag=red", {"tagged"}),
        ("tag=blue", set()),
        ("namespace=default&dialect=native", {"named"}),
    ],
)
async def test_entries_are_searched(bench, query, expected):
    named = {
        "prod": {"namespace": "prod", "provider": "openai", "prompt": "p"},
        "other": {"provider": "anthropic", "prompt": "p"},
        "model": {"provider": "openai", "prompt": "p", "model": "gpt-4o"},
        "tagged": {"provider": "openai", "prompt": "p", "bucket": "1", "tags": ["red"]},
        "sourced": {"provider": "openai", "prompt": "p", "bucket": "2", "sources": ["https://example.com/a"]},
        "named": {"key": "named/42"},
    }
    keys = {}
    for name, members in named.items():
        keys[(await bench.post("set", {**members, "value": name}, 201))["key"]] = name
    found = await bench.get(f"entries?{query}")
    assert {keys[entry["key"]] for entry in found["entries"]} == expected


async def test_an_entry_is_shown_with_its_value(bench):
    (key,) = await fill(bench, 1)
    shown = await bench.get(f"entries/{key}")
    assert shown["value"] == chat_answer("0")
    assert (shown["key"], shown["value_encoding"], shown["bytes"] > 100) == (key, "json", True)


async def test_a_deleted_entry_is_gone_for_everyone(bench):
    first, second = await fill(bench, 2)
    response = await bench.call("DELETE", f"/api/cache/entries/{first}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await bench.get(f"entries/{first}", 404))["code"] == "not_in_cache"
    await bench.get(f"get?key={first}", 404)
    hit = await bench.call("POST", "/v1/chat/completions", {**QUESTION, "seed": 0}, cache_control="only-if-cached")
    assert hit.status_code == 504
    await bench.get(f"get?key={second}")
    again = await bench.call("DELETE", f"/api/cache/entries/{first}")
    assert again.status_code == 404


async def test_deleting_a_key_deletes_the_native_value_beside_it_too(bench):
    missed = await bench.post("get", {"provider": "openai", "request": QUESTION})
    await bench.post("set", {"key": missed["key"], "value": 1}, 201)
    await bench.call("DELETE", f"/api/cache/entries/{missed['key']}")
    await bench.get(f"get?key={missed['key']}", 404)


async def test_a_deletion_outlives_a_fill_that_was_under_way(bench):
    (key,) = await fill(bench, 1)
    found = await bench.entries.get(bench.tenant(), bytes.fromhex(key))
    await bench.call("DELETE", f"/api/cache/entries/{key}")
    put = await bench.entries.put(bench.tenant(), found.entry, since=found.mark)
    assert put.value == "superseded"


async def test_purging_needs_a_criterion(bench):
    await fill(bench, 3, tags=["t"])
    for body in ({}, {"dry_run": True}, {"all": False}, {"all": True, "tags": ["t"]}, {"tags": []}, {"keys": []}):
        assert (await bench.post("purge", body, 400))["code"] == "invalid_member"
    assert (await bench.get("stats"))["entries"] == 3


async def test_purging_by_criteria(bench):
    first, second, *_ = await fill(bench, 4, tags=["red"])
    await fill(bench, 2, namespace="prod", sources=["https://example.com/"])
    assert await bench.post("purge", {"keys": [first]}) == {"invalidated": 1, "dry_run": False}
    assert await bench.post("purge", {"keys": [first, second.upper()], "dry_run": True}) == {
        "invalidated": 1,
        "dry_run": True,
    }
    await bench.get(f"get?key={second}")
    assert (await bench.post("purge", {"tags": ["red", "blue"], "namespace": "prod"}))["invalidated"] == 0
    assert (await bench.post("purge", {"tags": ["red", "blue"], "dialect": "openai"}))["invalidated"] == 3
    await bench.get(f"get?key={second}", 404)
    assert (await bench.post("purge", {"pattern": "prod/openai/gpt-4o-*", "dry_run": True}))["invalidated"] == 2
    assert (await bench.post("purge", {"source": "https://example.com/", "model": "gpt-4o-mini"}))["invalidated"] == 2
    await fill(bench, 3)
    assert (await bench.post("purge", {"all": True, "dry_run": True}))["invalidated"] == 3
    assert (await bench.post("purge", {"all": True}))["invalidated"] == 3
    assert (await bench.get("stats"))["entries"] == 0


async def test_stats(bench):
    await fill(bench, 2)
    await fill(bench, 1, namespace="prod")
    stats = await bench.get("stats?days=7")
    assert (stats["entries"], stats["namespaces"]) == (3, {"default": 2, "prod": 1})
    assert stats["bytes"] == sum(entry["bytes"] for entry in (await bench.get("entries"))["entries"])
    assert stats["calls"] == {
        "days": 7, "requests": 10, "hits": 6, "coalesced": 1, "misses": 1, "hit_ratio": 0.75,
        "cost_usd": 0.002, "saved_usd": 0.012,
    }  # fmt: skip
    assert bench.totals.asked == [("team_a", int((bench.clock.now() - 7 * 86400) * 1000))]


async def test_another_team_sees_and_removes_nothing(bench):
    (key,) = await fill(bench, 1, tags=["t"])
    other = bench.make_key("team_b")
    unknown = "0" * 64
    assert (await bench.post("get", {"provider": "openai", "request": {**QUESTION, "seed": 0}}, key=other))[
        "hit"
    ] is False
    for path in ("get?key={}", "entries/{}"):
        answers = [await bench.call("GET", "/api/cache/" + path.format(text), key=other) for text in (key, unknown)]
        assert [answer.status_code for answer in answers] == [404, 404]
        foreign, absent = (answer.json() | {"request_id": ""} for answer in answers)
        assert foreign == absent
    for text in (key, unknown):
        assert (await bench.call("DELETE", f"/api/cache/entries/{text}", key=other)).status_code == 404
    assert (await bench.get("entries", key=other)) == {"entries": [], "cursor": ""}
    assert (await bench.get("stats", key=other))["entries"] == 0
    for body in ({"all": True}, {"keys": [key]}, {"tags": ["t"]}, {"pattern": "*"}):
        assert (await bench.post("purge", body, key=other))["invalidated"] == 0
    explained = await bench.post("explain", {"provider": "openai", "request": QUESTION}, key=other)
    assert (explained["hit"], explained["nearest"]) == (False, None)
    await bench.get(f"get?key={key}")


async def test_the_same_request_of_two_teams_has_unrelated_keys(bench):
    asked = {"provider": "openai", "request": QUESTION}
    keys = {(await bench.post("get", asked, key=key))["key"] for key in (bench.key, bench.make_key("team_b"))}
    assert len(keys) == 2
