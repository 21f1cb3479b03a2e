"""F21, at the protocol: what a connection refuses, what it waits for, and what it lets through."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest

from agentcache.supervisor import bounded_http
from agentcache.supervisor.bounded_http import BoundedHTTP
from tests.support.asgi_server import ASGIServer
from tests.support.guarded import wait_until

HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\n"


class Application:
    """Answers with the length of the body; `/early` without reading it, `/long` with more than a socket holds."""

    def __init__(self):
        self.served = 0
        self.gone = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.served += 1
        size, more = 0, scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            size += len(message["body"])
            more = message["more_body"]
        body = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/long":
            for _ in range(200):
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone += 1
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def server(app):
    with ASGIServer(app, http=BoundedHTTP) as server:
        yield server


@pytest.fixture
def quick(monkeypatch):
    """Deadlines of tenths of seconds."""
    for name, seconds in (("HEAD_SECONDS", 0.3), ("BODY_SECONDS", 0.3), ("WRITE_STALL_SECONDS", 0.3)):
        monkeypatch.setattr(bounded_http, name, seconds)
    monkeypatch.setattr(bounded_http, "LINGER_SECONDS", 0.5)
    monkeypatch.setattr(bounded_http, "BODY_BYTES_PER_SECOND", 1000)


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection):
    """Return what comes until the end; a reset after an answer is an end too."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def exchange(server, *pieces):
    """Send pieces, then read to the end of the connection; return status, code and everything."""
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        answer = read_all(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else 0
    code = json.loads(body)["code"] if b"problem+json" in head else ""
    return status, code, answer


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ([b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"], 414, "url_too_long"),
        ([b"GET /" + b"a" * 65536, b" HTTP/1.1\r\nhost: x\r\n\r\n"], 414, "url_too_long"),
        ([b"GET /", *[b"a" * 65536] * 100], 414, "url_too_long"),
        ([HEAD, b"h: v\r\n" * 101, b"\r\n"], 431, "headers_too_large"),
        ([HEAD, *(b"h%d: v\r\n" % i for i in range(10_000)), b"\r\n"], 431, "headers_too_large"),
        ([HEAD, b"h: " + b"v" * 33_000 + b"\r\n\r\n"], 431, "headers_too_large"),
        ([HEAD, b"h: ", *[b"v" * 65536] * 100], 431, "headers_too_large"),
        ([HEAD, b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", *[b"t: v\r\n" * 1000] * 100], 431, "headers_too_large"),
        ([HEAD, b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"], 400, "invalid_http"),
        ([HEAD, b"content-length: 3\r\ncontent-length: 4\r\n\r\n"], 400, "invalid_http"),
        ([HEAD, b"content-length: -3\r\n\r\n"], 400, "invalid_http"),
        ([HEAD, b"a b: c\r\n\r\n"], 400, "invalid_http"),
        ([HEAD, b"transfer-encoding: chunked\r\n\r\nzz\r\n"], 400, "invalid_http"),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01"], 400, "invalid_http"),
    ],
)  # fmt: skip
def test_what_exceeds_a_bound_is_refused_and_the_connection_ends(server, app, pieces, status, code):
    assert exchange(server, *pieces)[:2] == (status, code)
    assert app.served <= (1 if b"chunked\r\n\r\n" in b"".join(pieces) else 0)


def test_what_is_just_within_the_bounds_is_served(server):
    target = b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    assert exchange(server, target + b"h: v\r\n" * 97 + b"h: " + b"v" * 30_000 + b"\r\n\r\n")[0] == 200


def test_ordinary_requests_share_a_connection_and_leave_no_timer(server):
    with connect(server) as connection:
        for size in (0, 5, 300_000):
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % size + b"x" * size)
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
            assert b"\r\n%d\r\n" % size in answer
        (protocol,) = server._server.server_state.connections
        assert protocol._timer is None
        assert protocol._write_timer is None
        assert protocol.timeout_keep_alive_task is not None


def test_a_body_in_single_bytes_is_one_body(server):
    chunks = [b"1\r\nx\r\n"] * 2000
    assert (
        b"2000"
        in exchange(server, HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")[2]
    )


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET / HT", HEAD, HEAD + b"h: v"])
def test_a_head_that_does_not_come_in_time_ends_the_connection(server, quick, begun):
    status, code, _ = exchange(server, begun)
    assert (status, code) == ((408, "request_timeout") if begun.strip() else (0, ""))


def test_a_dripping_head_is_late_all_the_same(server, quick):
    with connect(server) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(HEAD + b"h: ")
        for _ in range(50):
            connection.sendall(b"v")
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_come_in_time_is_refused(server, app, quick):
    assert exchange(server, HEAD + b"content-length: 10\r\n\r\nabc")[:2] == (408, "request_timeout")
    wait_until(lambda: app.gone == 1)


def test_a_slow_body_gets_time_for_what_it_brings(server, quick):
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: 2000\r\n\r\n")
        for _ in range(10):
            connection.settimeout(0.06)
            with contextlib.suppress(TimeoutError):
                connection.recv(1, socket.MSG_PEEK)
            connection.sendall(b"x" * 200)
        connection.settimeout(10)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_an_early_answer_is_read_and_the_connection_lives_if_the_rest_comes(server):
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(HEAD.replace(b"/x", b"/early") + b"content-length: 500000\r\n\r\n" + b"x" * 1000)
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
            connection.sendall(b"x" * 499_000)


def test_a_head_that_begins_behind_the_rest_of_a_body_is_judged_by_itself(server):
    """A caller that was answered early sends the rest, and its next request right behind it."""
    early = HEAD.replace(b"/x", b"/early") + b"content-length: 500000\r\n\r\n"
    with connect(server) as connection:
        for _ in range(20):
            connection.sendall(early + b"x" * 1000)
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
            connection.sendall(b"x" * 499_000 + HEAD)
            # Until it is read, so that the head comes in two pieces.
            time.sleep(0.01)
            connection.sendall(b"\r\n")
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200"), answer
        connection.sendall(early + b"x" * 1000)
        connection.sendall(b"x" * 499_000 + HEAD)
        time.sleep(0.01)
        connection.sendall(b"h: " + b"v" * 33_000 + b"\r\n\r\n")
        assert b"HTTP/1.1 431" in read_all(connection)


def test_an_early_answer_ends_the_connection_if_the_rest_does_not_come(server, quick):
    head = HEAD.replace(b"/x", b"/early") + b"content-length: 500000\r\n\r\nx"
    assert exchange(server, head)[0] == 200


def test_a_caller_that_takes_nothing_is_gone(server, app, quick):
    with connect(server) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until(lambda: app.gone == 1)


def test_a_refusal_never_lands_in_an_answer(server, app):
    with connect(server) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n\x00\x01\x02")
        answer = read_all(connection)
    assert b"400 Bad Request" not in answer
    wait_until(lambda: app.gone == 1)


def test_at_the_end_an_idle_connection_gives_one_last_answer(server):
    with connect(server) as busy, connect(server) as idle:
        for connection in (busy, idle):
            connection.sendall(HEAD + b"content-length: 0\r\n\r\n")
            while not connection.recv(65536).endswith(b"0\r\n\r\n"):
                pass
        server._server.should_exit = True
        wait_until(lambda: all(protocol._is_leaving for protocol in server._server.server_state.connections))
        busy.sendall(HEAD + b"content-length: 0\r\n\r\n")
        last = read_all(busy)
        assert last.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in last
        assert read_all(idle) == b""
