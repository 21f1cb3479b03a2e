from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time

import pytest

from tests.support.chaos import ChaosProxy
from tests.support.guarded import wait_until


class Echo(socketserver.BaseRequestHandler):
    """Answers every piece with itself, and the end of input with `bye`."""

    def handle(self):
        with contextlib.suppress(OSError):
            while piece := self.request.recv(65536):
                self.request.sendall(piece)
            self.request.sendall(b"bye")


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture(scope="module")
def echo_port():
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy(echo_port):
    with ChaosProxy(echo_port) as running:
        yield running


@pytest.fixture
def client(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        yield connection


def receive(connection, count):
    received = b""
    while len(received) < count and (piece := connection.recv(65536)):
        received += piece
    return received


def test_passes_bytes_and_the_end_of_input(proxy, client):
    client.sendall(b"hello")
    assert receive(client, 5) == b"hello"
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 99) == b"bye"
    assert (proxy.accepted, proxy.passed) == (1, {"up": 5, "down": 8})
    wait_until(lambda: proxy.open_links == 0)


def test_large_bodies_arrive_whole(client):
    body = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(body,)).start()
    assert receive(client, len(body)) == body


@pytest.mark.parametrize("fault", [{"latency": 30.0}, {"stall": True}, {"black_hole": True}, {"bandwidth": 0.01}])
@pytest.mark.parametrize("way", ["up", "down"])
def test_holds_bytes_back(proxy, client, way, fault):
    for name, value in fault.items():
        setattr(getattr(proxy, way), name, value)
    client.settimeout(0.1)
    client.sendall(b"hello")
    with pytest.raises(TimeoutError):
        client.recv(5)


def test_a_stall_ends(proxy, client):
    proxy.down.stall = True
    client.sendall(b"hello")
    wait_until(lambda: proxy.passed["up"] == 5)
    proxy.heal()
    assert receive(client, 5) == b"hello"


def test_slices_and_jitter_keep_the_order(proxy, client):
    proxy.down.slice_bytes = 1
    proxy.down.jitter = 0.001
    client.sendall(b"0123456789")
    first = client.recv(100)
    assert first + receive(client, 10 - len(first)) == b"0123456789"
    assert len(first) < 10


def test_latency_is_at_least_what_was_asked_for(proxy, client):
    proxy.up.latency = proxy.down.latency = 0.03
    begun = time.monotonic()
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    assert time.monotonic() - begun >= 0.06


def test_cut_is_a_clean_end_after_n_bytes(proxy, client):
    proxy.down.cut_after = 3
    client.sendall(b"hello")
    assert receive(client, 99) == b"hel"


def test_reset_after_n_bytes(proxy, client):
    proxy.down.reset_after = 3
    client.sendall(b"hello")
    assert client.recv(3) == b"hel"
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_half_close_leaves_the_other_direction_open(proxy, client):
    proxy.down.half_close_after = 3
    client.sendall(b"hello")
    assert receive(client, 99) == b"hel"
    client.sendall(b"more")
    wait_until(lambda: proxy.passed["up"] == 9)


def test_refuses(proxy):
    proxy.refuse = True
    _expect_reset(proxy.port)
    proxy.close_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    proxy.open_port()
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"


def test_breaks_open_connections(proxy, client):
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: proxy.open_links == 0)


def test_a_dead_target_resets(echo_port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        unused = probe.getsockname()[1]
    with ChaosProxy(unused) as proxy:
        _expect_reset(proxy.port)


def _expect_reset(port):
    # On a busy machine the reset may come before the connection is reported as made.
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.recv(1)
