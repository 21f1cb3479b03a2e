"""F21 through the gateway: what is too large is refused quickly, and is never gathered first."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psutil
import pytest

from tests.faults.scenes import CHAT_PATH, MESSAGES_PATH, entries, headers, upstream_in_use
from tests.support.gateway import LightGateway
from tests.support.reliability import record

MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("oversized"), _provider) as gateway:
        yield gateway


def head(gateway: Any, path: str = CHAT_PATH, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers(gateway).items()]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def send(gateway: Any, pieces: Iterable[bytes]) -> tuple[int, str, float, int]:
    """Send until an answer comes; return its status and body, the seconds from the first byte, and the bytes sent."""
    address = ("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))
    with socket.create_connection(address, timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent, answer = 0, b""
        started = time.perf_counter()
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    answer = connection.recv(65536)
                connection.settimeout(30)
                if answer:
                    break
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
        took = time.perf_counter() - started
        start, _, body = answer.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in start.split(b"\r\n") if line.startswith(b"content-length"))
        while len(body) < length:
            body += connection.recv(65536)
        return int(start.split(b" ", 2)[1]), body.decode(), took, sent


def endless_chunks() -> Iterator[bytes]:
    block = b"10000\r\n" + b" " * 65536 + b"\r\n"
    while True:
        yield block


def single_bytes(number: int) -> Iterator[bytes]:
    """Chunks of one byte each, many to a packet."""
    for _ in range(number // 1000):
        yield b"1\r\n \r\n" * 1000


CASES: list[tuple[str, Any, int]] = [
    ("100 MB announced", lambda g: [head(g, CHAT_PATH, f"content-length: {100 * MIB}"), *[bytes(MIB)] * 100], 413),
    ("endless chunks", lambda g: [head(g, CHAT_PATH, "transfer-encoding: chunked"), endless_chunks()], 413),
    ("10,000 headers", lambda g: [head(g, CHAT_PATH, *(f"x-{i}: v" for i in range(10_000)))], 431),
    ("101 headers", lambda g: [head(g, CHAT_PATH, *(f"x-{i}: v" for i in range(101)), "content-length: 0")], 431),
    ("one header of 1 MiB", lambda g: [head(g, CHAT_PATH, "x-long: " + "v" * MIB)], 431),
    ("a URL of 64 KiB", lambda g: [head(g, f"{CHAT_PATH}?q={'a' * 65536}")], 414),
    ("a URL just too long", lambda g: [head(g, f"{CHAT_PATH}?q={'a' * 8200}", "content-length: 0")], 414),
    ("100,000 levels", lambda g: bomb(g, b"[" * 100_000 + b"]" * 100_000), 400),
    ("9 MiB of levels", lambda g: bomb(g, b'{"a":' * (9 * MIB // 5)), 400),
    ("a number of 1 MiB", lambda g: bomb(g, b'{"model":"m","messages":[],"seed":' + b"9" * MIB + b"}"), 400),
]  # fmt: skip


def bomb(gateway: Any, content: bytes) -> list[bytes]:
    return [head(gateway, CHAT_PATH, f"content-length: {len(content)}"), content]


def flattened(pieces: Iterable[Any]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from piece


@pytest.mark.parametrize(("name", "make", "expected"), CASES, ids=[case[0] for case in CASES])
def test_f21_what_is_too_large_is_refused_before_it_is_gathered(gateway, provider, name, make, expected):
    process = psutil.Process()
    for attempt in ("warm", "measured"):
        pieces = make(gateway)
        before = process.memory_info().rss
        status, body, took, sent = send(gateway, flattened(pieces))
        growth = process.memory_info().rss - before
        assert status == expected, (attempt, body)
        assert body.startswith("{")
        # Nothing like the whole is taken: the limit of a body, and what the sockets hold.
        assert sent <= 20 * MIB
        assert growth <= 32 * MIB
    assert provider.call_count == 0
    assert entries(gateway) == 0
    assert upstream_in_use(gateway) == 0
    record(f"F21 {name}", status=status, answered_ms=round(1000 * took, 1), rss_growth_mib=round(growth / MIB, 1))


def test_f21_a_body_too_large_in_single_bytes_is_refused(tmp_path, provider):
    """Six bytes of framing for each of the body are read and dropped; a million of them take a second."""
    with LightGateway(tmp_path, provider, AGENTCACHE_BODY_MAX_BYTES="1MiB") as gateway:
        process = psutil.Process()
        before = process.memory_info().rss
        pieces = [head(gateway, CHAT_PATH, "transfer-encoding: chunked"), single_bytes(2 * MIB)]
        status, body, took, sent = send(gateway, flattened(pieces))
        growth = process.memory_info().rss - before
        assert (status, body[0]) == (413, "{")
        # The limit, each byte with its framing, and what the sockets hold; not the twelve MiB that there were.
        assert sent <= 11 * MIB
        assert growth <= 16 * MIB
        assert provider.call_count == 0
    record("F21 single bytes", status=status, answered_ms=round(1000 * took, 1), rss_growth_mib=round(growth / MIB, 1))


@pytest.mark.parametrize(("path", "kind"), [(CHAT_PATH, "openai"), (MESSAGES_PATH, "anthropic")])
def test_f21_a_body_too_large_is_told_in_the_callers_dialect(gateway, provider, path, kind):
    status, body, _, _ = send(gateway, [head(gateway, path, f"content-length: {11 * MIB}"), bytes(1000)])
    assert status == 413
    assert (json.loads(body).get("type") == "error") == (kind == "anthropic")
    assert "exceeds" in json.loads(body)["error"]["message"]


def test_f21_the_largest_body_that_is_allowed_is_served_and_leaves_memory(gateway, provider):
    text = "x" * (10 * MIB - 200)
    content = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    assert len(content) <= 10 * MIB
    status, body, _, _ = send(gateway, [head(gateway, CHAT_PATH, f"content-length: {len(content)}"), content])
    assert status == 200, body
