"""A12: every route of both planes wants a key or is on the list below; no spelling of a path or host changes that."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import pytest

from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.routes import PUBLIC_TARGETS, guarded_routes, settings_dialects

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

#: Pages that anybody may see. Everything else of the control plane asks to sign in.
PUBLIC_PAGES = {
    "/": "the start page: where to point a client; figures only where nobody but this machine can ask",
    "/pricing": "what a team gets",
    "/status": "how this server is, without any name or number of a team",
    "/security": "how to report, and what is protected",
    "/changelog": "what has changed",
    "/docs": "the manual",
    "/robots.txt": "for search engines",
    "/sitemap.xml": "for search engines",
    "/dev/design": "components of the pages, with figures made up, where only this machine can ask",
    "/favicon.ico": "a redirect to the icon",
    "/api/docs": "Swagger UI over the public document",
    "/dev/mail": "mails of a server without SMTP that only this machine can reach",
    "/signup": "to make an account",
    "/login": "to sign in",
    "/verify": "for whoever holds the link",
    "/resend": "to have a link mailed again",
    "/forgot": "to have a link mailed",
    "/reset": "for whoever holds the link",
}
#: Where strangers are sent: to the sign-in page, or to one that sends them there.
WAYS_IN = ("/login", "/signup", "/admin/login/", "/reauthenticate", "/settings")
#: Served without a key because browsers and SDKs fetch output files by a URL of 128 random bits; 404 to everybody else.
FILE_TARGET = "/replicate/files/some.aaaaaaaaaaaaaaaaaaaaaaaaaa/out.png"
REFUSED = {400, 401, 403, 404, 405, 410, 411, 414, 431}


@pytest.fixture(scope="module")
def pages(server):
    """Every address of the control plane, parameters filled in."""
    command = [sys.executable, "-m", "tests.support.page_routes_program"]
    environ = {**server.server.environ, "PYTHONPATH": ":".join(sys.path)}
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return [re.sub(r"\{\w+\}", "1", address) for address, _ in json.loads(finished.stdout)]


@pytest.fixture
def dialects(server):
    return settings_dialects(server.settings)


def is_refusal(answer):
    """Whether an answer gives nothing away: a refusal, or the way to the sign-in page."""
    if answer.status == 302:
        return answer.header("location").startswith(WAYS_IN)
    return answer.status in REFUSED


async def knock(url, method, target, headers=(), body=b"", host=None):
    """Send one request on a connection of its own; None when the server hangs up without an answer."""
    async with RawClient(url) as client:
        try:
            async with asyncio.timeout(60):
                return await client.request(method, target, headers, body, host=host)
        except ConnectionError:
            return None


async def test_every_route_wants_a_key_or_is_on_the_list(server, provider, dialects, pages):
    routes = guarded_routes(dialects)
    assert len(routes) > 60
    assert len(pages) > 10
    for route in routes:
        for method in {route.method, "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}:
            answer = await knock(server.url, method, route.target, [("X-Provider-Key", "sk-test")], route.body)
            assert answer is not None
            assert is_refusal(answer), f"{method} {route.target} is open: {answer.status}"
            if method == route.method:
                assert answer.status == 401, route.id
    for target in PUBLIC_TARGETS:
        answer = await knock(server.url, "GET", target)
        assert answer is not None
        assert answer.status == 200, target
    answer = await knock(server.url, "GET", FILE_TARGET)
    assert answer is not None
    assert answer.status == 404
    for page in pages:
        answer = await knock(server.url, "GET", page)
        assert answer is not None
        assert (answer.status in (200, 302)) if page in PUBLIC_PAGES else is_refusal(answer), f"{page}: {answer.status}"
    assert PUBLIC_PAGES.keys() <= set(pages), "the list names pages that are not there"
    assert provider.call_count == 0
    record("A12 routes", guarded=len(routes), pages=len(pages), public=len(PUBLIC_TARGETS) + len(PUBLIC_PAGES), open=0)


def spellings(target):
    """Yield other ways to write a path, some of which mean the same to some readers."""
    path, _, query = target.partition("?")
    tail = f"?{query}" if query else ""
    first, _, last = path.rpartition("/")
    parts = path.strip("/").split("/")
    written = [
        "/" + path, path.replace("/", "//"), path + "/", path + "//", path + ".", path + "/.", path + "/..",
        path + "%2e", path + ";x", path + ";x=1", first + ";x/" + last, path + "%00", path + "%20", path + "%0a",
        path + "%3f", path + "#x", path + "?", path + "\\", "/%2e" + path, "/." + path, "/x/.." + path,
        "/healthz/.." + path, "/healthz/%2e%2e" + path, "/healthz;/.." + path, "/healthz%2f.." + path,
        "/static/.." + path, "/static/%2e%2e" + path, "/replicate/files/.." + path, "/replicate/files/%2e%2e/.." + path,
        path.replace("/", "%2F"), "/" + "%2F".join(parts), "/" + "%252F".join(parts), path.upper(), path.title(),
        "/" + parts[0].upper() + "/" + "/".join(parts[1:]), "".join(f"%{ord(c):02x}" if c.isalpha() else c for c in path),
        path.replace("v1", "v%31"), path.replace("a", "%61"), "/\u00e9".encode().decode("latin-1") + path,
        path[1:], "*", "/?" + path, "/healthz?" + path, "/healthz#" + path, "/openai" + path, "/admin/login/.." + path,
    ]  # fmt: skip
    for spelling in dict.fromkeys(written):
        yield spelling + ("" if "?" in spelling or "#" in spelling else tail)
    for scheme in ("http", "https", "ftp", "file"):
        yield f"{scheme}://127.0.0.1{target}"
        yield f"{scheme}://evil.example{target}"
        yield f"{scheme}://evil.example@127.0.0.1{target}"


HOSTS = [
    "", " ", "a/?#", "a b", "evil.example", "127.0.0.1/healthz", "127.0.0.1:8787/healthz?", "127.0.0.1#", "localhost\\x",
    "[::1", "127.0.0.1, evil.example", "é", "admin@127.0.0.1", "../healthz", "%2f", "a" * 2000,
]  # fmt: skip
ADDED = [
    [(name, value)]
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Uri",
                 "X-Script-Name", "Script-Name", "X-HTTP-Method-Override", "X-Forwarded-Host", "X-Host", "Forwarded",
                 "X-Forwarded-For", "X-Real-IP", "True-Client-IP", "X-Forwarded-User", "Remote-User",
                 "X-AgentCache-Tenant", "X-AgentCache-Scopes", "X-AgentCache-Admin")
    for value in ("/healthz", "/api/openapi.json", "127.0.0.1", "GET", "for=127.0.0.1;host=localhost", "admin", "/")
]  # fmt: skip


@pytest.fixture(scope="module")
def public_bodies(server):
    """What everybody may read anyway."""
    answers = [asyncio.run(knock(server.url, "GET", target)) for target in (*PUBLIC_TARGETS, *PUBLIC_PAGES)]
    return {without_nonces(answer.body) for answer in answers if answer is not None}


def without_nonces(body):
    """Leave out what differs from one answer to the next: nonces, the asked address, to which a form leads back, health."""
    without = re.sub(rb'"(status|directory|store)":"\w+"', b"", body)
    without = re.sub(rb"(nonce|csrfmiddlewaretoken\W+value)=\W[\w+/=-]+", b"", without)
    return re.sub(rb'name="next" value="[^"<>]*"', b"", without)


async def test_no_spelling_of_a_path_opens_a_route(server, provider, dialects, public_bodies):
    tried, open_ones = 0, []
    targets = ["/openai/v1/chat/completions", "/v1/models", "/replicate/v1/predictions/abc", "/metrics",
               "/api/cache/get?key=some", "/api/cache/entries", "/api/cache/stats", "/admin/", "/admin/auth/group/"]  # fmt: skip
    for target in targets:
        for spelling in spellings(target):
            for method in ("GET", "POST"):
                answer = await knock(server.url, method, spelling, [("X-Provider-Key", "sk-test")])
                tried += 1
                if answer is not None and not is_refusal(answer) and without_nonces(answer.body) not in public_bodies:
                    open_ones.append(f"{method} {spelling}: {answer.status} {answer.body[:80]!r}")
    assert not open_ones, "\n".join(open_ones[:20])
    assert provider.call_count == 0
    record("A12 spellings", tried=tried, bypasses=0)


async def test_no_host_and_no_header_changes_the_decision(server, provider, public_bodies):
    tried, differences = 0, []
    for target in ("/openai/v1/chat/completions", "/v1/models", "/api/cache/stats", "/metrics", "/admin/"):
        usual = await knock(server.url, "GET", target)
        assert usual is not None
        for host, headers in [*((host, []) for host in HOSTS), *((None, headers) for headers in ADDED)]:
            answer = await knock(server.url, "GET", target, headers, host=host)
            tried += 1
            if answer is None or answer.status == 400:
                continue
            if answer.status != usual.status or b"evil.example" in answer.everything:
                differences.append(f"{target} with {host!r} {headers}: {answer.status} instead of {usual.status}")
    # And what is open stays what it is: no header turns it into something else.
    for target in PUBLIC_TARGETS:
        for headers in [[(name, "/metrics")] for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix")]:
            answer = await knock(server.url, "GET", target, headers)
            assert answer is not None
            assert without_nonces(answer.body) in public_bodies
    assert not differences, "\n".join(differences[:20])
    assert provider.call_count == 0
    record("A12 hosts and headers", tried=tried, bypasses=0)


async def test_with_a_key_the_host_moves_neither_the_call_nor_the_links(server, provider):
    body = {"version": "ab" * 32, "input": {"prompt": "Hi", "seed": 7}}
    key = [("X-AgentCache-Key", server.key()), ("Authorization", "Bearer sk-test"), ("Prefer", "wait")]
    for host in HOSTS:
        answer = await knock(server.url, "POST", "/replicate/v1/predictions", key, body, host=host)
        if answer is None or answer.status == 400:
            continue
        assert answer.status == 201, answer.body
        for url in answer.json()["urls"].values():
            if "/replicate/v1/" in url:
                assert re.fullmatch(r"http://[\w.:-]+/replicate/v1/predictions/[\w-]+(/cancel|/stream)?", url), (
                    host,
                    url,
                )
    assert provider.call_count > 0
    assert {call.headers["host"] for call in provider.calls} == {provider.url.removeprefix("http://")}
