"""Opens sockets to addresses that are already known, and makes the TLS context that both doors verify with."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

import certifi

from agentcache.kit.egress.http1 import Connection

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
#: Family and socket address, as `getaddrinfo` gives them.
Endpoint: TypeAlias = tuple[int, SocketAddress]

#: How long one address may keep silent before the next is tried beside it (RFC 8305, 5).
_STAGGER_SECONDS: Final = 0.25


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies against the system's certificates, or certifi's where the system has none.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` are not read: the environment must not decide whom we believe.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()
    if Path(paths.openssl_cafile).is_file():
        context.load_verify_locations(cafile=paths.openssl_cafile)
    elif Path(paths.openssl_capath).is_dir() and any(Path(paths.openssl_capath).iterdir()):
        context.load_verify_locations(capath=paths.openssl_capath)
    else:
        context.load_verify_locations(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Return every address of a host, in the system's order of preference; `OSError` when there is none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    # The third shape in the type is that of a build without IPv6.
    endpoints = [(int(family), cast("SocketAddress", address)) for family, _, _, _, address in found]
    return list(dict.fromkeys(endpoints))


async def open_connection(endpoints: Sequence[Endpoint], tls: ssl.SSLContext | None, server_name: str) -> Connection:
    """Connect to the first of the endpoints that answers; `OSError` (or `ssl.SSLError`) when none does."""
    loop = asyncio.get_running_loop()
    sock = await _connect_any(_interleave(endpoints))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, connection = await loop.create_connection(
            Connection, sock=sock, ssl=tls, server_hostname=server_name if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise
    return connection


def _interleave(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Alternate families, so that a network without working IPv6 costs one stagger and not many."""
    first = [endpoint for endpoint in endpoints if endpoint[0] == endpoints[0][0]]
    other = [endpoint for endpoint in endpoints if endpoint[0] != endpoints[0][0]]
    mixed: list[Endpoint] = []
    for position in range(max(len(first), len(other))):
        mixed += first[position : position + 1] + other[position : position + 1]
    return mixed


async def _connect_any(endpoints: Sequence[Endpoint]) -> socket.socket:
    if len(endpoints) == 1:
        return await _connect_one(endpoints[0])
    waiting = list(endpoints)
    running: set[asyncio.Task[socket.socket]] = set()
    problem: BaseException = OSError("no address to connect to")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect_one(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=_STAGGER_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (failed := task.exception()) is None:
                    _close_sockets(done - {task})
                    return task.result()
                problem = failed
        raise problem
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)


async def _connect_one(endpoint: Endpoint) -> socket.socket:
    family, address = endpoint
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_sockets(tasks: set[asyncio.Task[socket.socket]]) -> None:
    for task in tasks:
        _close_late(task)


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
