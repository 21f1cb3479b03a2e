import socket

import pytest

from agentcache.supervisor.errors import CannotStart, PortTaken
from agentcache.supervisor.listening import open_listener


def test_a_free_port_is_listened_on():
    with (
        open_listener("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=60) as client,
    ):
        assert client.getpeername() == listener.getsockname()


def test_the_socket_never_blocks_the_loop():
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.getblocking() is False


def test_a_taken_port_is_named_with_a_way_out():
    with open_listener("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}.*choose another port"):
            open_listener("127.0.0.1", port)


def test_the_port_of_a_server_that_just_stopped_is_free_again():
    with open_listener("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=60):
            pass
    open_listener(*address).close()


def test_an_address_of_another_machine():
    with pytest.raises(CannotStart, match="not an address of this machine"):
        open_listener("203.0.113.7", 0)
