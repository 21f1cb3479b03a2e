"""T11: what of a request goes upstream, what of an answer comes back, and what of it anybody else ever sees."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.raw_http import RawClient
from tests.support.reliability import record

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port?"}]}
#: Headers that speak of the caller's connection, person or browser, or that are ours; none may go upstream.
NOT_FORWARDED = {
    "Cookie": "session=zqxleak", "Forwarded": "for=zqxleak", "Via": "1.1 zqxleak", "X-Forwarded-For": "zqxleak",
    "X-Forwarded-Host": "zqxleak", "X-Forwarded-Proto": "zqxleak", "X-Forwarded-Port": "zqxleak",
    "X-Forwarded-Prefix": "/zqxleak", "X-Forwarded-User": "zqxleak", "X-Forwarded-Email": "zqxleak",
    "X-Forwarded-Client-Cert": "zqxleak", "X-Forwarded-Server": "zqxleak", "X-Real-IP": "zqxleak",
    "X-Original-URL": "/zqxleak", "X-Rewrite-URL": "/zqxleak", "CF-Connecting-IP": "zqxleak",
    "True-Client-IP": "zqxleak", "X-Client-IP": "zqxleak", "X-Cluster-Client-IP": "zqxleak",
    "Fastly-Client-IP": "zqxleak", "Origin": "https://zqxleak.example", "Referer": "https://zqxleak.example/",
    "Sec-Fetch-Site": "zqxleak", "Proxy-Authorization": "Basic zqxleak", "Proxy-Connection": "zqxleak",
    "TE": "trailers", "Trailer": "zqxleak", "Upgrade": "zqxleak", "Keep-Alive": "zqxleak",
    "X-AgentCache-Agent": "zqxleak", "X-AgentCache-Tags": "zqxleak", "X-AgentCache-Bucket": "zqxleak",
    "X-Hop": "zqxleak", "X-Other-Hop": "zqxleak",
    "Connection": "keep-alive, X-Hop, x-other-hop",
}  # fmt: skip
#: What a provider says about the caller's account or this one exchange.
OF_ONE_CALL = {
    "x-ratelimit-remaining-requests": "998", "x-ratelimit-reset-tokens": "6ms", "x-request-id": "req_first",
    "request-id": "req_first", "openai-organization": "org-first", "openai-processing-ms": "77", "cf-ray": "first-ray",
    "anthropic-organization-id": "org-first", "anthropic-ratelimit-requests-remaining": "3", "etag": '"first"',
    "x-envoy-upstream-service-time": "9", "set-cookie": "session=first; path=/", "x-account": "first",
}  # fmt: skip
#: What no answer carries, not even to whose call it was: cookies, framing, and headers that only we may write.
NEVER_RELAYED = {
    "set-cookie", "set-cookie2", "transfer-encoding", "connection", "keep-alive", "proxy-authenticate", "trailer",
    "upgrade", "alt-svc", "strict-transport-security", "x-hop",
}  # fmt: skip


def credentials(gateway, name="acme"):
    return [("X-AgentCache-Key", gateway.key(name)), ("Authorization", f"Bearer sk-canary-{name}")]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/openai/v1/chat/completions", QUESTION),
        ("POST", "/openai/v1/chat/completions", {**QUESTION, "stream": True}),
        ("POST", "/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hi"}),
        ("POST", "/together/v1/rerank", {"model": "some/ranker", "query": "q", "documents": ["a", "b"]}),
        ("POST", "/replicate/v1/predictions", {"version": "ab" * 32, "input": {"prompt": "p", "seed": 1}}),
        ("GET", "/openai/v1/models", b""),
        ("POST", "/acme_ai/v1/chat/completions", QUESTION),
    ],
    ids=["chat", "stream", "embeddings", "rerank", "prediction", "pass", "generic"],
)
async def test_nothing_of_the_callers_connection_goes_upstream(gateway, provider, method, target, body):
    async with RawClient(gateway.url) as client:
        # Transport headers may make a server hang up; everything else goes in one request.
        for names in (list(NOT_FORWARDED), [name for name in NOT_FORWARDED if name not in ("Upgrade", "TE")]):
            headers = [*credentials(gateway), *((name, NOT_FORWARDED[name]) for name in names)]
            answer = await client.request(method, target, [*headers, ("X-AgentCache-Mode", "refresh")], body)
            assert answer.status in (200, 201, 202), answer.body
    assert provider.call_count >= 2
    for call in provider.calls:
        assert "zqxleak" not in json.dumps(call.headers), {k for k, v in call.headers.items() if "zqxleak" in v}
        ours = [name for name in call.headers if name.startswith("x-agentcache") or "provider-key" in name]
        assert ours == []
        assert gateway.key("acme") not in json.dumps(call.headers) + call.body.decode()
        assert call.headers["host"] == provider.url.removeprefix("http://")
    record(f"T11 {target.split('/')[1]} {method}", sent=len(NOT_FORWARDED), forwarded=0)


async def test_an_account_of_one_caller_is_shown_to_no_other(gateway, provider):
    scripted = tuple((name, value) for name, value in OF_ONE_CALL.items() if name != "set-cookie")
    shown = 0
    for streams in (False, True):
        provider.script(headers=scripted, hold=True, times=1)
        body = {**QUESTION, "stream": streams, "user": f"u{streams}", "seed": int(streams)}
        async with asyncio.TaskGroup() as group, RawClient(gateway.url) as one, RawClient(gateway.url) as two:
            calls = [
                group.create_task(client.request("POST", "/openai/v1/chat/completions", credentials(gateway), body))
                for client in (one, two)
            ]
            await asyncio.to_thread(provider.wait_for_calls, 1 if not streams else 2)
            while not all(flight.readers == 2 for flight in gateway.parts.flights._by_key.values()):
                await asyncio.sleep(0.005)
            provider.release()
            answers = [await call for call in calls]
            hit = await one.request("POST", "/openai/v1/chat/completions", credentials(gateway), body)
        assert hit.hit
        leaders = [answer for answer in answers if "collapsed" not in answer.header("cache-status")]
        followers = [answer for answer in answers if "collapsed" in answer.header("cache-status")]
        assert (len(leaders), len(followers)) == (1, 1)
        # Whose call it was may see them: official clients read request ids and rate limits.
        assert leaders[0].header("x-request-id")
        for answer in (*followers, hit):
            names = {name for name, _ in answer.pairs}
            assert not names & OF_ONE_CALL.keys(), names & OF_ONE_CALL.keys()
            shown += any(value in ("req_first", "org-first", "998") for _, value in answer.pairs)
    assert provider.call_count == 2
    record("T11 rate limits and request ids", shown_to_others=shown)


async def test_a_cookie_is_neither_relayed_nor_stored(gateway, provider):
    answers = []
    async with RawClient(gateway.url) as client:
        for body in (QUESTION, {**QUESTION, "stream": True}, {"model": "text-embedding-3-small", "input": "Hi"}):
            target = "/openai/v1/embeddings" if "input" in body else "/openai/v1/chat/completions"
            provider.script(set_cookie="session=zqxcookie; path=/", times=2)
            answers += [await client.request("POST", target, credentials(gateway), body) for _ in range(2)]
        provider.script(set_cookie="session=zqxcookie; path=/", times=1)
        answers.append(await client.request("GET", "/openai/v1/models", credentials(gateway)))
    assert not any(answer.hit for answer in answers), "an answer with a cookie speaks to one person"
    assert all(answer.status == 200 for answer in answers)
    assert not any(b"zqxcookie" in answer.everything for answer in answers)
    assert not any("cookie" in call.headers for call in provider.calls)
    gateway.run(gateway.parts.entries.close())
    assert b"zqxcookie" not in gateway.settings.cache_db.read_bytes()
    record("T11 Set-Cookie", answers=len(answers), relayed=0, stored=0)


async def test_an_upstream_writes_none_of_our_headers(gateway, provider):
    forged = (
        ("X-AgentCache-Key", "0" * 64), ("X-AgentCache-Saved-USD", "1000"), ("X-AgentCache-Request-Id", "forged"),
        ("X-AgentCache-Freshness", "fresh"), ("Cache-Status", "AgentCache; hit"), ("Age", "9"),
        ("Strict-Transport-Security", "max-age=1"), ("Alt-Svc", "h3=zqx"), ("X-Hop", "zqxhop"),
        ("Connection", "X-Hop"), ("Proxy-Authenticate", "Basic"), ("Set-Cookie2", "a=b"), ("Clear-Site-Data", '"*"'),
        ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"),
    )  # fmt: skip
    async with RawClient(gateway.url) as client:
        for method, target, body in [
            ("POST", "/openai/v1/chat/completions", QUESTION),
            ("POST", "/openai/v1/chat/completions", {**QUESTION, "stream": True, "seed": 4}),
            ("POST", "/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hi"}),
            ("POST", "/replicate/v1/predictions", {"version": "ab" * 32, "input": {"prompt": "p", "seed": 1}}),
            ("GET", "/openai/v1/models", b""),
        ]:
            provider.script(headers=forged)
            answer = await client.request(method, target, credentials(gateway), body)
            assert answer.status in (200, 201, 202), answer.body
            names = [name for name, _ in answer.pairs]
            # Framing between the test's own server and client is not the gateway's.
            assert not (NEVER_RELAYED - {"transfer-encoding"}) & set(names), set(names) & NEVER_RELAYED
            assert answer.header("cache-status").startswith("AgentCache; fwd=")
            assert names.count("cache-status") == 1
            assert "age" not in names
            assert answer.header("x-agentcache-request-id") != "forged"
            for name in ("x-agentcache-key", "x-agentcache-request-id", "x-agentcache-saved-usd"):
                assert names.count(name) <= 1
            assert "1000" not in [value for _, value in answer.pairs]
            assert not {"access-control-allow-origin", "access-control-allow-credentials", "clear-site-data"} & set(
                names
            )


async def test_the_cookies_of_a_providers_load_balancer_mark_nobody(gateway, provider):
    balancers = ("__cf_bm=zqxcookie; path=/; domain=.api.openai.com; HttpOnly", "_cfuvid=zqxcookie; path=/")
    hits = []
    async with RawClient(gateway.url) as client:
        for number, body in enumerate((QUESTION, {**QUESTION, "stream": True}, {"model": "e", "input": "Hi"})):
            target = "/openai/v1/embeddings" if "input" in body else "/openai/v1/chat/completions"
            asked = {**body, "seed": number} if "messages" in body else body
            provider.script(headers=tuple(("Set-Cookie", cookie) for cookie in balancers))
            first = await client.request("POST", target, credentials(gateway), asked)
            assert b"zqxcookie" not in first.everything
            hits.append((await client.request("POST", target, credentials(gateway), asked)).hit)
    assert hits == [True] * 3


async def test_a_header_meant_for_one_connection_is_not_there_at_all(gateway, provider):
    """Were it in the key and not sent upstream, another answer would be stored under that key."""
    organization = ("OpenAI-Organization", "org-a")
    async with RawClient(gateway.url) as client:
        answers = [
            await client.request("POST", "/openai/v1/chat/completions", [*credentials(gateway), *headers], QUESTION)
            for headers in ([organization, ("Connection", "openai-organization")], [], [organization])
        ]
    keys = [answer.header("x-agentcache-key") for answer in answers]
    assert keys[0] == keys[1] != keys[2]
    assert [call.headers.get("openai-organization") for call in provider.calls] == [None, "org-a"]
