from __future__ import annotations

import pytest

from tests.unit.gateway.native.samples import QUESTION, chat_answer

ASKED = {"provider": "openai", "request": QUESTION}


async def nothing_stored(bench):
    return (await bench.get("stats"))["entries"] == 0


@pytest.mark.parametrize("path", ["get", "set", "purge", "explain"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"key":"a","key":"b","value":1}',
        b'{"key":"a","value":{"x":1,"x":2}}',
        b'{"key":"a","value":NaN}',
        b'{"key":"a","value":1e400}',
        b'{"key":"a","value":123456789012345678901234567890}',
        b'{"key":"a","value":"\\ud800"}',
        b'{"key":"a","value":"\xff"}',
        b'\xef\xbb\xbf{"key":"a","value":1}',
        b'{"key":"a","value":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"key":"a","value":1,"' + b"x" * 100_000 + b'":1}',
        b'{"key":"a","value":1} trailing',
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_hostile_json_is_a_400_and_nothing_is_stored(bench, path, body):
    response = await bench.call("POST", f"/api/cache/{path}", body)
    assert response.status_code == 400, response.text
    assert response.json()["code"] in ("invalid_json", "invalid_member")
    assert response.headers["content-type"] == "application/problem+json"
    assert await nothing_stored(bench)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("get", {**ASKED, "namspace": "x"}, "namspace"),
        ("get", {}, "request"),
        ("get", {**ASKED, "prompt": "x"}, "prompt"),
        ("get", {**ASKED, "key": "x"}, "key"),
        ("get", {"request": QUESTION}, "provider"),
        ("get", {"provider": "nobody", "request": QUESTION}, "provider"),
        ("get", {"provider": 1, "request": QUESTION}, "provider"),
        ("get", {"provider": "openai", "request": [1]}, "request"),
        ("get", {"provider": "openai", "request": {"x": 1}}, "endpoint"),
        ("get", {**ASKED, "endpoint": "chat"}, "endpoint"),
        ("get", {**ASKED, "endpoint": "/v1/nothing"}, "endpoint"),
        ("get", {**ASKED, "model": "gpt"}, "model"),
        ("get", {**ASKED, "params": {}}, "params"),
        ("get", {"provider": "openai", "messages": []}, "model"),
        ("get", {"provider": "openai", "messages": [], "model": "m", "params": {"model": "n"}}, "params.model"),
        ("get", {**ASKED, "namespace": "a b"}, "namespace"),
        ("get", {**ASKED, "namespace": ""}, "namespace"),
        ("get", {**ASKED, "bucket": "é"}, "bucket"),
        ("get", {**ASKED, "ignore": [""]}, None),
        ("get", {**ASKED, "ignore": ["a"] * 33}, "ignore"),
        ("get", {**ASKED, "headers": {"X-AgentCache-Nonsense": "1"}}, "x-agentcache-nonsense"),
        ("get", {**ASKED, "headers": {"a": 1}}, "headers[...]"),
        ("get", {"key": ""}, "key"),
        ("get", {"key": "k" * 513}, "key"),
        ("get", {"key": "a\nb"}, "key"),
        ("get", {"key": "0" * 64, "bucket": "b"}, "bucket"),
        ("get", {"key": "k", "ignore": []}, "ignore"),
        ("get", {"provider": "openai", "prompt": "p", "headers": {}}, "headers"),
        ("set", ASKED, "value"),
        ("set", {**ASKED, "value": 1, "ttl": 0}, "ttl"),
        ("set", {**ASKED, "value": 1, "ttl": -5}, "ttl"),
        ("set", {**ASKED, "value": 1, "ttl": True}, "ttl"),
        ("set", {**ASKED, "value": 1, "ttl": "soon"}, "ttl"),
        ("set", {**ASKED, "value": 1, "ttl": 10**12}, "ttl"),
        ("set", {**ASKED, "value": 1, "tags": ["a,b"]}, "tags"),
        ("set", {**ASKED, "value": 1, "tags": [""]}, "tags"),
        ("set", {**ASKED, "value": 1, "tags": "a"}, "tags"),
        ("set", {**ASKED, "value": 1, "tags": [str(n) for n in range(33)]}, "tags"),
        ("set", {**ASKED, "value": 1, "sources": ["file:///etc/passwd"]}, "sources"),
        ("set", {**ASKED, "value": 1, "cost_usd": -1}, "cost_usd"),
        ("set", {**ASKED, "value": 1, "cost_usd": "much"}, "cost_usd"),
        ("set", {**ASKED, "value": 1, "cost_usd": "1000000.1"}, "cost_usd"),
        ("set", {**ASKED, "value": 1, "input_tokens": -1}, "input_tokens"),
        ("purge", {"everything": True}, "everything"),
        ("purge", {"keys": ["abc"]}, "keys[0]"),
        ("purge", {"keys": ["0" * 64] * 501}, "keys"),
        ("purge", {"pattern": ""}, "pattern"),
        ("purge", {"source": "nowhere"}, "source"),
        ("purge", {"namespace": "*"}, "namespace"),
        ("explain", {"provider": "openai", "prompt": "x"}, "prompt"),
        ("explain", {"provider": "openai"}, "request"),
    ],
)
async def test_what_is_wrong_is_named(bench, path, body, param):
    problem = await bench.post(path, body, 400)
    assert problem.get("param") == param, problem
    assert problem["detail"]
    assert await nothing_stored(bench)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("entries?nonsense=1", "nonsense"),
        ("entries?limit=0", "limit"),
        ("entries?limit=501", "limit"),
        ("entries?limit=ten", "limit"),
        ("entries?tag=a&tag=b", "tag"),
        ("entries?tag=%ff", None),
        ("entries?a", None),
        ("entries?namespace=%2A", "namespace"),
        ("entries?source=x", "source"),
        (f"entries?pattern={'x' * 513}", "pattern"),
        ("get", "key"),
        ("get?key=a&bucket=%20", "bucket"),
        ("get?key=a%0Ab", "key"),
        ("stats?days=0", "days"),
        ("stats?days=400", "days"),
        ("entries/xyz", "key"),
        (f"entries/{'g' * 64}", "key"),
    ],
)
async def test_a_bad_query_is_named(bench, query, param):
    assert (await bench.get(query, 400)).get("param") == param


@pytest.mark.parametrize("cursor", ["nonsense", "%C3%A9", "AAAA"])
async def test_a_cursor_that_no_listing_gave_is_refused(bench, cursor):
    await bench.post("set", {"key": "k", "value": 1}, 201)
    assert (await bench.get(f"entries?cursor={cursor}", 400))["param"] == "cursor"


async def test_a_key_in_the_query_is_refused(bench):
    assert (await bench.get(f"get?key={bench.key}", 400))["code"] == "key_in_url"


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"x_agentcache_ttl": "5"}, "x-agentcache-ttl"),
        ({"x_agentcache_mode": "off"}, "x-agentcache-mode"),
        ({"x_agentcache_nonsense": "5"}, "x-agentcache-nonsense"),
        ({"cache_control": "no-store"}, "cache-control"),
        ({"cache_control": "max-age=x"}, "cache-control"),
    ],
)
async def test_directives_without_a_meaning_here_are_refused(bench, headers, param):
    problem = await bench.post("get", ASKED, 400, **headers)
    assert (problem["code"], problem["param"]) == ("invalid_directive", param)


async def test_max_age_means_nothing_to_set(bench):
    assert (await bench.post("set", {**ASKED, "value": 1}, 400, cache_control="max-age=5"))["param"] == "cache-control"


async def test_sizes_are_bounded(bench):
    at_most = bench.parts.settings.entry_max_bytes
    await bench.post("set", {"key": "fits", "value": "x" * (at_most - 2)}, 201)
    assert (await bench.post("set", {"key": "not", "value": "x" * (at_most - 1)}, 413))["code"] == "entry_too_large"
    big = {"key": "k", "value": "x" * bench.parts.settings.body_max_bytes}
    for path in ("get", "set", "explain"):
        assert (await bench.post(path, big, 413))["code"] == "payload_too_large"
    too_big = b'{"all": true, "pattern": "' + b"x" * (2 << 20) + b'"}'
    assert (await bench.post("purge", too_big, 413))["code"] == "payload_too_large"
    assert (await bench.get("stats"))["entries"] == 1


async def test_null_is_a_value_and_falsy_values_are_hits(bench):
    for value in (None, False, 0, "", [], {}):
        await bench.post("set", {"key": "k", "value": value}, 201)
        found = await bench.post("get", {"key": "k"})
        assert (found["hit"], found["value"]) == (True, value)
        bench.clock.move(1)


@pytest.mark.parametrize(
    "name", ["__proto__", "'; DROP TABLE entries;--", "../../etc", "${jndi}", "名前", "a" * 512, "%"]
)
async def test_any_printable_name_is_a_key(bench, name):
    await bench.post("set", {"key": name, "value": chat_answer()}, 201)
    response = await bench.client.get("/api/cache/get", params={"key": name}, headers={"x-agentcache-key": bench.key})
    assert response.json()["value"] == chat_answer()
