"""A closed-loop load generator in a process of its own: raw HTTP/1.1 over keep-alive connections, no client library.

    echo '{"port": 8787, "path": "/v1/chat/completions", ...}' | python -m benchmarks.load

Prints one JSON line: requests, seconds, p50_us, p99_us, first_byte_p50_us.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop


@dataclass
class Load:
    """What to send. `bodies` come in turn; "{n}" in them is the number of the request, so that each can be new."""

    port: int
    path: str
    bodies: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 1
    seconds: float = 3.0
    warm_up_seconds: float = 0.5
    #: First number of "{n}"; numbers wrap at `distinct` when that is not 0.
    first: int = 0
    distinct: int = 0
    cpu: int | None = None


class Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        if not self._received:
            self._first_byte_at = time.perf_counter()
        self._received += data
        if self._is_whole():
            now = time.perf_counter()
            self._run.done(self._received, now - self._sent_at, self._first_byte_at - self._sent_at)
            self._received.clear()
            if self._run.is_over:
                self._transport.close()
            else:
                self._send()

    def _send(self) -> None:
        request = self._run.next_request()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _is_whole(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = self._received.find(b"content-length: ", 0, end)
        if at < 0:
            at = self._received.find(b"Content-Length: ", 0, end)
        if at < 0:
            # With the line before: a header that ends in 0 is no last chunk.
            return self._received.endswith(b"\r\n0\r\n\r\n")
        length = int(self._received[at + 16 : self._received.find(b"\r\n", at)])
        return len(self._received) >= end + 4 + length


class Run:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._number = load.first
        lines = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nUser-Agent: bench\r\n{lines}Content-Length: "
        ).encode()
        self._fixed = None if any("{n}" in body for body in load.bodies) else [self._request(b) for b in load.bodies]
        self.is_over = False
        self.is_counting = False
        self.latencies: list[float] = []
        self.first_bytes: list[float] = []
        self.failures = 0
        self.hits = 0

    def next_request(self) -> bytes:
        """Return the next request's bytes."""
        number = self._number
        self._number += 1
        if self._load.distinct:
            # A full-period stride, so that neighbours in time are not neighbours in the store.
            number = (number * 7_368_787) % self._load.distinct
        if self._fixed is not None:
            return self._fixed[number % len(self._fixed)]
        return self._request(self._load.bodies[number % len(self._load.bodies)].replace("{n}", str(number)))

    def done(self, answer: bytearray, seconds: float, first_byte_seconds: float) -> None:
        """Note an answer."""
        if not answer.startswith(b"HTTP/1.1 20"):
            self.failures += 1
        if self.is_counting:
            self.latencies.append(seconds)
            self.first_bytes.append(first_byte_seconds)
            self.hits += b"AgentCache; hit" in answer

    async def run(self) -> dict[str, float]:
        """Send for the agreed time and return the figures."""
        loop = asyncio.get_running_loop()
        for _ in range(self._load.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._load.port)
        await asyncio.sleep(self._load.warm_up_seconds)
        self.is_counting = True
        started = time.perf_counter()
        await asyncio.sleep(self._load.seconds)
        self.is_counting = False
        seconds = time.perf_counter() - started
        self.is_over = True
        await asyncio.sleep(0.1)
        return {
            "requests": len(self.latencies),
            "seconds": seconds,
            "per_second": len(self.latencies) / seconds,
            "p50_us": quantile(self.latencies, 0.5) * 1e6,
            "p99_us": quantile(self.latencies, 0.99) * 1e6,
            "first_byte_p50_us": quantile(self.first_bytes, 0.5) * 1e6,
            "hits": self.hits,
            "failures": self.failures,
            "next": self._number,
        }

    def _request(self, body: str) -> bytes:
        raw = body.encode()
        return self._head + str(len(raw)).encode() + b"\r\n\r\n" + raw


def quantile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie; NaN without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def go_first() -> None:
    """Where that is allowed, run as soon as there is something to read.

    The generator shares its core with the fake provider, which is still writing the rest of a stream when its first
    byte arrives: without this, whether that byte is noticed at once or a millisecond later is the scheduler's mood.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(50))


def main() -> None:
    """Run the load given as JSON on standard input."""
    load = Load(**json.load(sys.stdin))
    go_first()
    if load.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {load.cpu})
    print(json.dumps(uvloop.run(Run(load).run())))


if __name__ == "__main__":
    main()
