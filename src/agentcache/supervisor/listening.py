"""The listening socket that all server processes share, so that a restart of one refuses nobody."""

from __future__ import annotations

import errno
import socket

from agentcache.supervisor.errors import CannotStart, PortTaken

#: Connections that may wait in the kernel while every worker is busy or restarting.
BACKLOG = 2048


def open_listener(host: str, port: int, setting: str = "AGENTCACHE_PORT") -> socket.socket:
    """Return a bound, listening TCP socket. Raises `PortTaken` or `CannotStart`, each with a way out.

    `setting` is the one that names the port, for the message.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise CannotStart(
            f"AGENTCACHE_HOST: {host!r} is no address of this machine ({error.strerror}). Use 127.0.0.1 for this "
            "machine only, or 0.0.0.0 for all its addresses.",
            param="AGENTCACHE_HOST",
        ) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _explain(error, host, port, setting) from None
    return listener


def _explain(error: OSError, host: str, port: int, setting: str) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"{setting}: another program already listens on {host}:{port}. Stop it, or choose another port: "
            f"{setting}={port + 1 if port < 65535 else 8787}.",
            param=setting,
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return CannotStart(
            f"{setting}: this user may not listen on port {port}. Use a port above 1023, such as 8787.",
            param=setting,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotStart(
            f"AGENTCACHE_HOST: {host} is not an address of this machine. Use 127.0.0.1, or 0.0.0.0 for all addresses.",
            param="AGENTCACHE_HOST",
        )
    return CannotStart(
        f"{setting}: cannot listen on {host}:{port} ({error.strerror}). Choose another host or port.",
        param=setting,
    )
