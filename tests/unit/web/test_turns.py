from __future__ import annotations

import asyncio
import json

import pytest

from agentcache.accounts.hashing import TooManyHashes
from agentcache.web.turns import Turns, hashes_password


async def call(app, *chunks, path="/", headers=()):
    """Ask with a body in chunks, each of which may have to be waited for; return status, headers and body."""
    sent, waiting = [], list(chunks) or [b""]

    async def receive():
        chunk = waiting.pop(0)
        if isinstance(chunk, asyncio.Event):
            await chunk.wait()
            chunk = b""
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "path": path, "headers": list(headers)}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def holding(release):
    """Return an application that reads its body and then works until it is released."""

    async def app(_scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return app


async def test_one_too_many_is_asked_to_come_back_and_the_next_is_let_in_again():
    release = asyncio.Event()
    turns = Turns(holding(release), at_once=2)
    running = [asyncio.create_task(call(turns)) for _ in range(2)]
    await asyncio.sleep(0)
    status, headers, body = await call(turns)
    assert (status, headers[b"retry-after"], json.loads(body)["code"]) == (503, b"1", "overloaded")
    release.set()
    assert [(await task)[0] for task in running] == [200, 200]
    assert (await call(turns))[0] == 200


async def test_whoever_sends_slowly_keeps_nobody_out():
    release, sent = asyncio.Event(), asyncio.Event()
    release.set()
    turns = Turns(holding(release), at_once=1)
    slow = asyncio.create_task(call(turns, b"a", sent, b"c"))
    await asyncio.sleep(0)
    assert (await call(turns))[0] == 200
    sent.set()
    assert (await slow)[0] == 200


async def test_a_call_that_fails_gives_its_turn_back():
    async def failing(_scope, receive, _send):
        await receive()
        raise ValueError

    turns = Turns(failing, at_once=1)
    for _ in range(3):
        try:
            await call(turns)
        except ValueError:
            continue
        raise AssertionError("refused")


async def test_some_wait_for_a_turn_in_their_order_and_the_rest_is_refused():
    release, order = asyncio.Event(), []

    async def app(scope, receive, send):
        await receive()
        order.append(scope["path"])
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    turns = Turns(app, at_once=1, waiting=2, refusal=TooManyHashes)
    tasks = []
    for path in ("/first", "/second", "/third"):
        tasks.append(asyncio.create_task(call(turns, path=path)))
        await asyncio.sleep(0)
    status, _, body = await call(turns)
    assert (status, json.loads(body)["code"]) == (503, "sign_in_busy")
    assert order == ["/first"]
    # Whoever gives up while they wait takes no turn, and leaves their place to another.
    tasks.pop(1).cancel()
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(call(turns, path="/fourth")))
    await asyncio.sleep(0)
    release.set()
    assert [(await task)[0] for task in tasks] == [200] * 3
    assert order == ["/first", "/third", "/fourth"]


@pytest.mark.parametrize(
    ("method", "path", "query", "hashes"),
    [
        ("POST", "/login", b"", True), ("GET", "/login", b"", False), ("POST", "/login/mfa", b"", False),
        ("POST", "/api/account/login", b"", True), ("POST", "/api/account", b"action=login", True),
        ("POST", "/api/account", b"action=logout", False), ("POST", "/api/account", b"", False),
        ("POST", "/invite/abc", b"", True), ("POST", "/settings/profile", b"", False),
    ],
)  # fmt: skip
def test_doors_where_passwords_are_hashed(method, path, query, hashes):
    assert hashes_password({"method": method, "path": path, "query_string": query}) is hashes


async def test_a_browser_is_refused_with_a_page(sqlite_project):
    from agentcache.web.busy_page import busy_pages

    turns = Turns(holding(asyncio.Event()), at_once=0, pages=busy_pages(sqlite_project))
    html = [(b"accept", b"text/html,application/xhtml+xml")]
    status, headers, body = await call(turns, path="/login", headers=html)
    assert status == 503
    assert headers[b"content-type"].startswith(b"text/html")
    assert b"Busy at this moment" in body
    assert b"script-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"retry-after"] == b"1"
    assert headers[b"x-agentcache-request-id"].startswith(b"req_")
    # Made once, and for browsers alone.
    assert (await call(turns, path="/signup", headers=html))[2] is body
    for path, given in (("/api/account/login", html), ("/login", [])):
        assert json.loads((await call(turns, path=path, headers=given))[2])["code"] == "overloaded"
