"""Known hits at the protocol: which bytes are asked for, what leaves, and that everything else goes the usual way."""

from __future__ import annotations

import socket
import time

import pytest

from agentcache.gateway.known_hits import SCOPE_KEY, RequestBytes
from agentcache.supervisor import bounded_http, quick_http
from agentcache.supervisor.quick_http import QuickHTTP
from tests.support.asgi_server import ASGIServer
from tests.support.guarded import wait_until

HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
WHOLE = HEAD + b"hello"
USUAL = b"usual"


class Hit:
    """What a known hit is to the server."""

    status = 200
    body = b"known answer"

    def __init__(self):
        self.headers = [(b"content-type", b"text/plain"), (b"age", b"1")]
        self.request_id = b"request-1"
        self.limits = []
        self.rendered = None


class Application:
    """Knows `WHOLE` once it is told to, and says what the server says of every other request."""

    def __init__(self):
        self.hit = None
        self.heads = set()
        self.asked = []
        self.said = []
        self.known_hits = self

    def begins(self, head):
        return head in self.heads

    def answer(self, request):
        self.asked.append(request)
        return self.hit if request == WHOLE else None

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
        self.said.append(scope.get(SCOPE_KEY))
        headers = [(b"content-length", b"%d" % len(USUAL))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": USUAL})


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def server(app):
    with ASGIServer(app, http=QuickHTTP, proxy_headers=False, server_header=False) as server:
        yield server


class Caller:
    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """Return head and body of the next answer."""
        while b"\r\n\r\n" not in self._buffer:
            self._take()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(rest) < length:
            self._take()
            rest = self._buffer.partition(b"\r\n\r\n")[2]
        self._buffer = rest[length:]
        return head, rest[:length]

    def is_closed(self):
        return self.socket.recv(1) == b""

    def _take(self):
        piece = self.socket.recv(65536)
        assert piece, "the server hung up"
        self._buffer += piece


@pytest.fixture
def caller(server):
    with Caller(server) as caller:
        yield caller


def test_a_known_request_is_answered_without_the_application(app, caller):
    app.hit = Hit()
    app.hit.limits = [(b"ratelimit-remaining", b"7")]
    for number in range(3):
        app.hit.request_id = b"request-%d" % number
        caller.send(WHOLE)
        head, body = caller.read()
        assert body == Hit.body
        lines = head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert lines[1].startswith(b"date: ")
        assert lines[2:] == [
            b"content-type: text/plain",
            b"age: 1",
            b"x-agentcache-request-id: request-%d" % number,
            b"content-length: 12",
            b"ratelimit-remaining: 7",
        ]
    assert not app.said


def test_headers_that_changed_are_written_anew(app, caller):
    app.hit = Hit()
    caller.send(WHOLE)
    caller.read()
    app.hit.headers = [(b"age", b"2")]
    caller.send(WHOLE)
    assert b"\r\nage: 2\r\n" in caller.read()[0]


@pytest.mark.parametrize(
    "request_bytes",
    [
        WHOLE + b"\r\n",
        WHOLE.replace(b"host: x", b"host: y"),
        WHOLE.replace(b"hello", b"hellO"),
        WHOLE.replace(b"content-length: 5", b"content-length: 5\r\nconnection: close"),
    ],
)
def test_one_byte_more_or_another_and_it_goes_the_usual_way(app, caller, request_bytes):
    app.hit = Hit()
    caller.send(request_bytes)
    assert caller.read()[1] == USUAL
    assert len(app.said) == 1


def test_the_application_is_told_the_bytes_of_a_request_in_one_piece(app, caller):
    caller.send(WHOLE)
    assert caller.read()[1] == USUAL
    assert app.said == [RequestBytes(WHOLE, 0)]


def test_the_application_is_told_the_bytes_of_a_request_in_two_pieces(app, caller):
    caller.send(HEAD)
    time.sleep(0.05)
    caller.send(b"hello")
    assert caller.read()[1] == USUAL
    assert app.said == [RequestBytes(WHOLE, len(HEAD))]


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, b"hel", b"lo"],
        [WHOLE.replace(b"content-length: 5", b"content-length: 5\r\nconnection: close")],
        [WHOLE.replace(b"content-length: 5", b"content-length: 5\r\nexpect: 100-continue")],
        [b"POST /x HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello"],
        [b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70_000],
    ],
    ids=["three pieces", "closes", "expects", "HTTP/1.0", "large"],
)
def test_of_other_requests_it_is_told_nothing(app, caller, pieces):
    for piece in pieces:
        caller.send(piece)
        time.sleep(0.05)
    wait_until(lambda: app.said)
    assert app.said == [None]


def test_of_requests_that_come_together_it_is_told_nothing(app, caller):
    app.hit = Hit()
    caller.send(WHOLE + WHOLE)
    assert [caller.read()[1], caller.read()[1]] == [USUAL, USUAL]
    assert app.said == [None, None]
    caller.send(WHOLE)
    assert caller.read()[1] == Hit.body, "afterwards it stands between requests again"


def test_a_known_request_behind_one_that_is_being_answered_waits_for_its_turn(app, caller):
    app.hit = Hit()
    caller.send(WHOLE.replace(b"hello", b"other"))
    caller.send(WHOLE)
    answers = [caller.read()[1], caller.read()[1]]
    assert answers[0] == USUAL
    assert answers[1] in (USUAL, Hit.body)


def test_a_known_head_waits_for_its_body(app, caller):
    app.hit = Hit()
    app.heads.add(HEAD)
    caller.send(HEAD)
    time.sleep(0.01)
    caller.send(b"hello")
    assert caller.read()[1] == Hit.body
    assert not app.said


def test_a_known_head_with_another_body_goes_the_usual_way(app, caller):
    app.hit = Hit()
    app.heads.add(HEAD)
    caller.send(HEAD)
    time.sleep(0.01)
    caller.send(b"other")
    assert caller.read()[1] == USUAL
    assert app.said == [RequestBytes(HEAD + b"other", len(HEAD))]


def test_a_known_head_whose_body_is_late_goes_the_usual_way(app, caller):
    app.heads.add(HEAD)
    caller.send(HEAD)
    time.sleep(quick_http.HOLD_SECONDS * 4)
    caller.send(b"hello")
    assert caller.read()[1] == USUAL


def test_a_known_head_without_a_body_is_refused_in_time(monkeypatch, app, server):
    monkeypatch.setattr(bounded_http, "BODY_SECONDS", 0.3)
    app.heads.add(HEAD)
    with Caller(server) as caller:
        caller.send(HEAD)
        head, _ = caller.read()
        assert head.startswith(b"HTTP/1.1 408 ")


def test_a_caller_that_leaves_its_head_behind_asked_nothing(app, server):
    app.heads.add(HEAD)
    with Caller(server) as caller:
        caller.send(HEAD)
        wait_until(lambda: app.asked)
    with Caller(server) as caller:
        caller.send(WHOLE)
        assert caller.read()[1] == USUAL
    assert len(app.said) == 1


def test_an_idle_connection_ends_though_its_last_answers_were_known_hits(app):
    app.hit = Hit()
    with ASGIServer(app, http=QuickHTTP, proxy_headers=False, timeout_keep_alive=3) as server, Caller(server) as caller:
        started = time.monotonic()
        while time.monotonic() < started + 3.5:
            caller.send(WHOLE)
            assert caller.read()[1] == Hit.body
            time.sleep(0.1)
        assert caller.is_closed()


def test_a_server_that_ends_answers_the_usual_way_and_says_so(app):
    app.hit = Hit()
    with ASGIServer(app, http=QuickHTTP, proxy_headers=False, server_header=False) as server, Caller(server) as caller:
        caller.send(WHOLE)
        caller.read()
        server._server.should_exit = True
        time.sleep(0.3)
        caller.send(WHOLE)
        head, body = caller.read()
        assert body == USUAL
        assert b"connection: close" in head.lower()
        assert caller.is_closed()
