"""One address takes no more connections than it may; others, and those that are exempt, notice nothing."""

from __future__ import annotations

import contextlib
import socket

import pytest

from agentcache.kit.networks import Networks
from agentcache.settings import Settings
from agentcache.supervisor.bounded_http import BoundedHTTP
from agentcache.supervisor.open_connections import OpenConnections
from tests.support.asgi_server import ASGIServer
from tests.support.guarded import wait_until

NOBODY = Networks.of(["192.0.2.0/24"])


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def counted():
    return OpenConnections(3, NOBODY)


@pytest.fixture
def server(counted):
    with ASGIServer(application, http=BoundedHTTP) as server:
        server._server.config.open_connections = counted
        yield server


def is_served(connection):
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1.1 204")
    except ConnectionError:
        return False


def connect(stack, server, source="127.0.0.1"):
    connection = socket.create_connection(("127.0.0.1", server.port), 10, (source, 0))
    return stack.enter_context(connection)


def test_what_is_beyond_the_bound_is_closed_and_room_comes_back(server, counted):
    with contextlib.ExitStack() as stack:
        first = [connect(stack, server) for _ in range(3)]
        assert [is_served(one) for one in first] == [True] * 3
        assert [is_served(connect(stack, server)) for _ in range(5)] == [False] * 5
        assert is_served(connect(stack, server, "127.0.0.2"))
        # Refused ones took no room, and those that were let in go on.
        assert [is_served(one) for one in first] == [True] * 3
        first[0].close()
        wait_until(lambda: counted._open.get("127.0.0.1", 0) == 2, what="the connection to be counted off")
        assert is_served(connect(stack, server))
    wait_until(lambda: not counted._open, what="every connection to be counted off")


def test_the_same_connection_takes_any_number_of_requests(server):
    with contextlib.ExitStack() as stack:
        connection = connect(stack, server)
        assert all(is_served(connection) for _ in range(50))


def test_who_is_counted(counted):
    assert OpenConnections(1, Networks.of(["127.0.0.0/8", "::1/128"])).open("127.0.0.1") == ""
    assert counted.open("unix") == ""
    assert {counted.open(f"2001:db8::{number}") for number in range(1, 4)} == {"2001:db8::"}
    assert counted.open("2001:db8::9") is None
    assert counted.open("2001:db8:0:1::9") == "2001:db8:0:1::"


def test_the_settings_say_what_is_counted():
    assert OpenConnections.of(Settings.from_env({"AGENTCACHE_TRUSTED_PROXIES": "1"})) is None
    assert OpenConnections.of(Settings.from_env({"AGENTCACHE_CONNECTIONS_PER_ADDRESS": "0"})) is None
    usual = OpenConnections.of(Settings.from_env({}))
    assert [usual.open("192.0.2.1") for _ in range(257)].count(None) == 1
    assert usual.open("::1") == ""
