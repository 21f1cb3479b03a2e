"""A11: what looks like SQL, formats, markup or log lines is text everywhere: no 5xx, no SQL error, one line per record."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentcache.gateway.vocabulary import REQUEST_HEADERS
from agentcache.kit.api_keys import new_api_key
from tests.support.guarded import wait_until
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.tiers import before_release

#: A word of our own, so that an answer or a log line that carries an attack can be told.
MARK = "zqxinjected"
ATTACKS = [
    "' OR '1'='1", "'; DROP TABLE teams_apikey; --", '" OR ""="', "') UNION SELECT key_hash FROM teams_apikey --",
    "1; SELECT pg_sleep(9)", "%' ESCAPE '\\", "\\'", "x' AND 1=CAST((SELECT 1) AS int)--", "%s%s%s%n", "%(name)s",
    "{0.__class__.__mro__}", "{}", "${jndi:ldap://127.0.0.1/a}", "{{7*7}}", "$(id)", "`id`", "| id", "\x00", "a\x00b",
    "\r\nX-Injected: yes", "\n{\"level\": \"error\", \"event\": \"" + MARK + "\"}", "\u2028{\"event\": 1}", "\x1b[31m" + MARK,
    "\x85next", "\x0b\x0c\x1c", "../../etc/passwd", "<script>alert(1)</script>", "\ud7ff\ue000", "\uffff", "A" * 300,
    "\U0001f600", "\u202emoc.elpmaxe", "0x27", "null", "-1", "NaN", "1e999",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=40), st.text("'\"\\%\0\r\n;:{}$`-#/*()é", max_size=20))
HEADERS = [
    "Authorization", "X-API-Key", "X-AgentCache-Key", "X-Provider-Key", "X-OpenAI-Key", "User-Agent", "Accept",
    "Content-Type", "Cookie", "Prefer", "OpenAI-Organization", "Anthropic-Version", "Anthropic-Beta", "Cache-Control",
    "X-Forwarded-For", "Range", "Accept-Language", "X-Request-Id", "Traceparent",
    *(field.name for field in REQUEST_HEADERS if field.name.startswith("X-AgentCache-")),
]  # fmt: skip
ROUTES = [
    ("POST", "/openai/v1/chat/completions"), ("POST", "/anthropic/v1/messages"), ("POST", "/v1/embeddings"),
    ("POST", "/replicate/v1/predictions"), ("GET", "/openai/v1/models"), ("POST", "/api/cache/get"),
    ("POST", "/api/cache/set"), ("GET", "/api/cache/get"), ("GET", "/api/cache/entries"), ("POST", "/api/cache/purge"),
    ("POST", "/api/cache/explain"), ("GET", "/api/cache/stats"), ("GET", "/"), ("GET", "/admin/login/"),
    ("POST", "/admin/login/"), ("GET", "/static/web/base.css"), ("GET", "/healthz"),
]  # fmt: skip
MEMBERS = [
    "model", "messages", "input", "prompt", "provider", "key", "value", "namespace", "tags", "source", "sources", "ttl",
    "pattern", "cursor", "limit", "dialect", "endpoint", "version", "webhook", "stream", "max_tokens", "cost_usd", "all",
    "username", "password", "next",
]  # fmt: skip


@st.composite
def requests(draw):
    """One request with attacks anywhere, as bytes; it has a good key most of the time, so that it gets far."""
    method, path = draw(st.sampled_from(ROUTES))
    for segment in draw(st.lists(TEXTS, max_size=2)):
        path += "/" + draw(st.sampled_from([quote(segment, safe=""), segment.replace(" ", "")]))
    query = draw(st.dictionaries(st.sampled_from(MEMBERS) | TEXTS, TEXTS, max_size=3))
    if query:
        path += "?" + "&".join(f"{quote(name)}={quote(text)}" for name, text in query.items())
    headers = draw(st.lists(st.tuples(st.sampled_from(HEADERS), TEXTS), max_size=3))
    value = st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=2), max_leaves=3)
    body = draw(st.dictionaries(st.sampled_from(MEMBERS) | TEXTS, value, max_size=5))
    if draw(st.booleans()):
        body |= {"provider": "openai", "model": draw(TEXTS), "messages": [{"role": "user", "content": draw(TEXTS)}]}
    content = draw(st.sampled_from([json.dumps(body), json.dumps(body, ensure_ascii=False), draw(TEXTS)]))
    return method, path, headers, content.encode(errors="surrogatepass"), draw(st.integers(0, 4)) > 0


def as_bytes(case, key):
    """Write a request down without caring what it means."""
    method, path, headers, content, has_key = case
    given_headers = [("Host", "127.0.0.1"), *headers]
    if has_key:
        given_headers += [("X-AgentCache-Key", key), ("Authorization", "Bearer sk-test")]
    lines = [f"{method} {path} HTTP/1.1".encode(errors="surrogatepass")]
    lines += [f"{name}: {text}".encode(errors="surrogatepass") for name, text in given_headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(content), b"", b""]) + content


def trouble(answer):
    """What is wrong with an answer, if anything."""
    if answer is None:
        return ""
    if answer.status >= 500:
        return f"status {answer.status}: {answer.body[:200]!r}"
    if answer.header("x-injected"):
        return "a header was injected"
    return ""


#: E1 tries hostile text in a browser with every change.
pytestmark = before_release


@pytest.fixture(scope="module")
def calls():
    return {"sent": 0, "answered": 0, "accepted": 0}


@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=requests())
def test_attacks_are_text(server, calls, case):
    assert (found := trouble(asyncio.run(send(server.url, as_bytes(case, server.key()), calls)))) == "", found


async def send(url, raw, calls):
    async with RawClient(url) as client:
        calls["sent"] += 1
        try:
            async with asyncio.timeout(60):
                answer = await client.send(raw)
        except (ConnectionError, ValueError):
            return None  # what is no HTTP is hung up on
        calls["answered"] += 1
        calls["accepted"] += answer.status < 300
        return answer


async def test_every_attack_in_every_header_and_as_a_key(server, calls):
    for attack in ATTACKS:
        headers = [(name, attack) for name in HEADERS]
        for header in headers:
            case = ("POST", "/api/cache/get", [header], b'{"provider": "openai", "prompt": "p"}', True)
            assert trouble(await send(server.url, as_bytes(case, server.key()), calls)) == ""
        if "\n" in attack:
            continue  # a good key before the end of its line is a good key
        for key in (attack, server.key() + attack, attack + server.key(), new_api_key()[:-8] + attack):
            case = ("GET", "/api/cache/stats", [("Authorization", f"Bearer {key}")], b"", False)
            answer = await send(server.url, as_bytes(case, ""), calls)
            assert trouble(answer) == ""
            assert answer is None or answer.status in (400, 401), (attack, answer.status)


def test_what_came_of_it(server, calls):
    """Runs last: the log is whole lines of JSON without an error, every usage event arrived, the tables are there."""
    assert calls["sent"] > 1200
    assert calls["answered"] > calls["sent"] / 2
    assert calls["accepted"] > 100
    asyncio.run(send(server.url, f"GET /{MARK} HTTP/1.1\r\nHost: {MARK}.example\r\n\r\n".encode(), calls))
    asyncio.run(send(server.url, f"GET /{MARK} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), calls))
    wait_until(lambda: len(server.events) >= calls["accepted"] / 2, what="usage events")
    lines = [line for line in server.server.output.splitlines() if line.startswith("{")]
    for line in lines:
        written = json.loads(line)
        assert MARK not in written.get("event", ""), line
        assert written.get("level") not in ("error", "critical"), line
        assert not {"OperationalError", "ProgrammingError", "DataError"} & {written.get("error")}, line
    assert "syntax error" not in server.server.output
    assert MARK not in server.server.output
    assert "Traceback" not in server.server.output
    # Nothing was dropped, nobody was added: the key still is the key of its team.
    assert server.server.run("keys", "list", "--json").returncode == 0
    record(
        "A11", requests=calls["sent"], answered=calls["answered"], sql_errors=0, server_errors=0, log_lines=len(lines)
    )
