"""A TCP proxy that misbehaves on demand, for any protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass
class Faults:
    """What happens to bytes in one direction. All may be changed while connections are open."""

    #: Seconds before each piece, plus up to `jitter` more.
    latency: float = 0.0
    jitter: float = 0.0
    #: Bytes per second; 0 is unlimited.
    bandwidth: float = 0.0
    #: Pieces of at most so many bytes; 0 leaves them as they come.
    slice_bytes: int = 0
    #: Hold everything back, and stop reading, while set.
    stall: bool = False
    #: Read and throw away while set.
    black_hole: bool = False
    #: After so many bytes of one connection: end it with FIN both ways, with RST, or close this direction only.
    cut_after: int | None = None
    reset_after: int | None = None
    half_close_after: int | None = None

    @property
    def limit(self) -> int | None:
        """The number of bytes after which something breaks, if anything does."""
        set_limits = [at for at in (self.cut_after, self.reset_after, self.half_close_after) if at is not None]
        return min(set_limits, default=None)


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class ChaosProxy:
    """Listens on loopback and passes connections to `target`; runs in a thread of its own.

    `up` is what clients send, `down` what the target answers. `refuse` resets new connections; `close_port()` makes
    the kernel refuse them; `reset_all()` breaks those that are open.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1", *, seed: int = 0) -> None:
        self.up, self.down = Faults(), Faults()
        self.refuse = False
        self.port = 0
        #: Connections accepted so far, and bytes passed on per direction.
        self.accepted = 0
        self.passed = {"up": 0, "down": 0}
        self._target = (target_host, target_port)
        self._random = random.Random(seed)
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)

    @property
    def open_links(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._links)

    def start(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        self._run(self._listen)
        return self

    def stop(self) -> None:
        """Break what is open and end the thread."""
        self._run(self._close_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close_port(self) -> None:
        """Stop listening: connecting fails with ECONNREFUSED. Open connections stay."""
        self._run(self._stop_listening)

    def open_port(self) -> None:
        """Listen again on the same port."""
        self._run(self._listen)

    def reset_all(self) -> None:
        """Break every open connection with RST on both sides."""
        self._run(self._reset_links)

    def heal(self) -> None:
        """Take all faults back."""
        self.up, self.down, self.refuse = Faults(), Faults(), False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self, action: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(action(), self._loop).result(10)

    async def _listen(self) -> None:
        # A small window on both sides, or kernel buffers would hide a slow reader.
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=65536)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset_links(self) -> None:
        for link in list(self._links):
            _reset(link.client)
            _reset(link.server)

    async def _close_all(self) -> None:
        await self._stop_listening()
        tasks = [task for link in self._links for task in link.tasks]
        await self._reset_links()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # lets closed transports leave the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuse:
            _reset(writer)
            return
        try:
            from_server, to_server = await asyncio.open_connection(*self._target, limit=65536)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, to_server)
        link.tasks = [
            asyncio.create_task(self._pump(link, reader, to_server, "up")),
            asyncio.create_task(self._pump(link, from_server, writer, "down")),
        ]
        self._links.add(link)
        try:
            await asyncio.gather(*link.tasks, return_exceptions=True)
        finally:
            self._links.discard(link)
            for end in (writer, to_server):
                end.close()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                await self._while_stalled(way)
                pending = await source.read(16384)
                if not pending:
                    break
                while pending:
                    await self._while_stalled(way)
                    faults = self._faults(way)
                    piece = pending[: faults.slice_bytes or len(pending)]
                    pending = pending[len(piece) :]
                    if faults.black_hole:
                        continue
                    limit = faults.limit
                    piece = piece if limit is None else piece[: max(limit - passed, 0)]
                    await self._delay(faults, len(piece))
                    sink.write(piece)
                    await sink.drain()
                    passed += len(piece)
                    self.passed[way] += len(piece)
                    if limit is not None and passed >= limit:
                        self._break(link, sink, faults, passed)
                        return
            if sink.can_write_eof():
                sink.write_eof()

    def _faults(self, way: str) -> Faults:
        return self.up if way == "up" else self.down

    async def _while_stalled(self, way: str) -> None:
        while self._faults(way).stall:
            await asyncio.sleep(0.005)

    async def _delay(self, faults: Faults, size: int) -> None:
        pause = faults.latency + self._random.random() * faults.jitter
        pause += size / faults.bandwidth if faults.bandwidth else 0.0
        if pause:
            await asyncio.sleep(pause)

    @staticmethod
    def _break(link: _Link, sink: asyncio.StreamWriter, faults: Faults, passed: int) -> None:
        if faults.half_close_after is not None and passed >= faults.half_close_after:
            sink.write_eof()
        elif faults.reset_after is not None and passed >= faults.reset_after:
            _reset(link.client)
            _reset(link.server)
        else:
            link.client.close()
            link.server.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
