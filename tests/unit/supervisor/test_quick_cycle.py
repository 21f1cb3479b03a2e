"""The quick cycle puts the very bytes on the wire that uvicorn's own would, and refuses the same."""

from __future__ import annotations

import socket

import pytest
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from agentcache.supervisor import quick_cycle
from agentcache.supervisor.bounded_http import BoundedHTTP
from agentcache.supervisor.quick_cycle import QuickCycle
from tests.support.asgi_server import ASGIServer

LENGTH = (b"content-length", b"5")


def start(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data=b"hello", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


#: name -> what the application sends.
ANSWERS = {
    "whole": [start((b"Content-Type", b"text/plain"), LENGTH), body()],
    "empty": [start((b"content-length", b"0")), body(b"")],
    "many headers": [start(*((b"X-Number-%d" % n, b"v%d" % n) for n in range(60)), LENGTH), body()],
    "same name twice": [start((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), LENGTH), body()],
    "in pieces": [start(LENGTH), body(b"he", True), body(b"llo")],
    "last piece empty": [start(LENGTH), body(b"hello", True), body(b"")],
    "chunked": [start(), body(b"he", True), body(b"llo")],
    "chunked by name": [start((b"Transfer-Encoding", b"chunked")), body()],
    "no content": [start(status=204), body(b"")],
    "not modified": [start((b"etag", b'"x"'), status=304), body(b"")],
    "asks to close": [start((b"Connection", b"close"), LENGTH), body()],
    "tab in a value": [start((b"x-tab", b"a\tb"), LENGTH), body()],
    "high bytes": [start((b"x-high", "ü".encode()), LENGTH), body()],
    "without headers and body": [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}],
    "too long": [start((b"content-length", b"3")), body()],
    "too short": [start((b"content-length", b"9")), body()],
    "length of words": [start((b"content-length", b"many")), body()],
    "line break in a value": [start((b"x-evil", b"a\r\nset-cookie: b=1"), LENGTH), body()],
    "nul in a value": [start((b"x-evil", b"a\x00"), LENGTH), body()],
    "line break in a name": [start((b"x-evil\r\nx", b"a"), LENGTH), body()],
    "space in a name": [start((b"x evil", b"a"), LENGTH), body()],
    "body first": [body()],
    "start twice": [start(LENGTH), start(LENGTH), body()],
    "more after the end": [start(LENGTH), body(), body()],
    "nothing": [],
    "large": [start((b"content-length", b"300000")), body(b"x" * 300_000)],
}


class Application:
    def __init__(self):
        self.errors = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        try:
            for message in ANSWERS[scope["path"][1:].replace("-", " ")]:
                await send(dict(message))
        except Exception as error:
            self.errors.append(type(error).__name__)
            raise


def exchange(cycle, monkeypatch, name, method, extra=b""):
    """Return all bytes that come back, and what the application's sending raised."""
    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", cycle)
    app = Application()
    path = name.replace(" ", "-").encode()
    with (
        ASGIServer(app, http=BoundedHTTP, server_header=False, date_header=False, access_log=False) as server,
        socket.create_connection(("127.0.0.1", server.port), 5) as connection,
    ):
        one = method + b" /" + path + b" HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n"
        # A second request in the same breath: keeping the connection usable is part of the answer.
        connection.sendall(one + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received, app.errors


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=["get", "head"])
@pytest.mark.parametrize("name", ANSWERS, ids=[name.replace(" ", "_") for name in ANSWERS])
@pytest.mark.filterwarnings("ignore")
def test_the_bytes_and_the_refusals_are_those_of_uvicorn(monkeypatch, name, method):
    expected = exchange(RequestResponseCycle, monkeypatch, name, method)
    assert exchange(QuickCycle, monkeypatch, name, method) == expected
    assert expected != (b"", [])


def test_an_expectation_is_met_once(monkeypatch):
    extra = b"Expect: 100-continue\r\n"
    expected = exchange(RequestResponseCycle, monkeypatch, "whole", b"GET", extra)
    assert exchange(QuickCycle, monkeypatch, "whole", b"GET", extra) == expected


def test_unknown_names_are_not_remembered_without_bound(monkeypatch):
    names = quick_cycle._Names()
    for number in range(quick_cycle._NAMES_MAX + 10):
        assert names[b"X-%d" % number] == (b"x-%d" % number, b"\r\nx-%d: " % number)
    assert len(names) == quick_cycle._NAMES_MAX
