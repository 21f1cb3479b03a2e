"""How an answer leaves: whole and at once, or with the delays, cuts and broken bytes that a script asks for."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable

from agentcache.demo.fake_provider.script import Script
from agentcache.demo.fake_provider.wire import Connection, Reply, chunk

#: 64 MiB of zeros, which DEFLATE packs about a thousandfold.
BOMB_BYTES = 64 * 1024 * 1024


class Stopped(Exception):
    """The script has ended this answer early."""


class Delivery:
    """Sends one reply as its script says."""

    def __init__(
        self, connection: Connection, reply: Reply, script: Script, release: Callable[[], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._reply = reply
        self._script = script
        self._wait_for_release = release
        self._sent_bytes = 0

    async def run(self) -> None:
        """Send everything; returns early when the client leaves or the script cuts the answer."""
        script = self._script
        try:
            await self._wait_until_due()
            if script.wire is not None:
                await _WIRE[script.wire](self)
            else:
                await self._send_head()
                await self._send_chunks()
        except (ConnectionResetError, Stopped):
            return

    async def _wait_until_due(self) -> None:
        if self._script.hold:
            await self._wait_for_release()
        delay = self._script.delay + self._reply.delay
        if delay:
            await asyncio.sleep(delay)
        if self._reply.late is not None:
            self._reply = self._reply.late()

    async def _send_head(self, framing: str = "") -> None:
        await self._connection.send(self._reply.head(framing=framing))
        await self._check_cut(0)

    async def _send_chunks(self) -> None:
        streamed = self._reply.events is not None
        for position, piece in enumerate(self._reply.chunks()):
            await self._pause_before(position)
            await self._send_body(piece, streamed)
            await self._check_cut(position + 1)
        if streamed:
            await self._connection.send(b"0\r\n\r\n")

    async def _pause_before(self, position: int) -> None:
        script = self._script
        if script.hold_after == position:
            await self._wait_for_release()
        if script.stall_after == position:
            await asyncio.shield(self._connection.lost)
            raise Stopped
        if script.chunk_delay:
            await asyncio.sleep(script.chunk_delay)

    async def _send_body(self, piece: bytes, streamed: bool) -> None:
        for limit, end in ((self._script.fin_after_bytes, self._finish), (self._script.rst_after_bytes, self._reset)):
            if limit is not None and self._sent_bytes + len(piece) >= limit:
                part = piece[: limit - self._sent_bytes]
                # A cut inside a chunk: the chunk's announced length is never reached.
                await self._connection.send(b"%x\r\n%b" % (len(piece), part) if streamed else part)
                await end()
        self._sent_bytes += len(piece)
        await self._connection.send(chunk(piece) if streamed else piece)

    async def _check_cut(self, sent_chunks: int) -> None:
        if self._script.fin_after_chunks == sent_chunks:
            await self._finish()
        if self._script.rst_after_chunks == sent_chunks:
            await self._reset()

    async def _finish(self) -> None:
        self._connection.transport.close()
        raise Stopped

    async def _reset(self) -> None:
        await self._connection.reset()
        raise Stopped

    # -- answers that are wrong below the API

    def _body(self) -> bytes:
        return b"".join(self._reply.chunks())

    async def _never_answer(self) -> None:
        await asyncio.shield(self._connection.lost)

    async def _garbage(self) -> None:
        await self._connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03SSH-2.0-nothing\r\n\r\n")
        await self._finish()

    async def _bad_chunk_length(self) -> None:
        await self._send_head("transfer-encoding: chunked\r\n")
        pieces = self._reply.chunks()
        await self._connection.send(chunk(pieces[0]) + b"zz\r\n" + b"".join(pieces[1:]) + b"\r\n0\r\n\r\n")
        await self._finish()

    async def _truncated_chunk(self) -> None:
        await self._send_head("transfer-encoding: chunked\r\n")
        body = self._body()
        await self._connection.send(b"%x\r\n%b" % (len(body) + 100, body))
        await self._finish()

    async def _content_length_long(self) -> None:
        body = self._body()
        await self._send_head(f"content-length: {len(body) + 100}\r\n")
        await self._connection.send(body)
        await self._finish()

    async def _content_length_short(self) -> None:
        body = self._body()
        await self._send_head(f"content-length: {len(body) // 2}\r\n")
        await self._connection.send(body)
        await self._finish()

    async def _cl_and_te(self) -> None:
        body = self._body()
        await self._send_head(f"content-length: {len(body)}\r\ntransfer-encoding: chunked\r\n")
        await self._connection.send(chunk(body) + b"0\r\n\r\n")

    async def _huge_header(self) -> None:
        self._reply.headers.append(("x-huge", "h" * 1_000_000))
        await self._send_head()
        await self._send_chunks()

    async def _continue_flood(self) -> None:
        for _ in range(100):
            await self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await self._send_head()
        await self._send_chunks()

    async def _send_encoded(self, body: bytes) -> None:
        self._reply.headers.append(("content-encoding", "gzip"))
        await self._send_head(f"content-length: {len(body)}\r\n")
        await self._connection.send(body)

    async def _gzip(self) -> None:
        await self._send_encoded(gzip.compress(self._body(), mtime=0))

    async def _gzip_error(self) -> None:
        packed = bytearray(gzip.compress(self._body(), mtime=0))
        middle = len(packed) // 2
        packed[middle : middle + 8] = b"\xff" * 8
        await self._send_encoded(bytes(packed))

    async def _gzip_bomb(self) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        block = bytes(1024 * 1024)
        packed = b"".join(packer.compress(block) for _ in range(BOMB_BYTES // len(block))) + packer.flush()
        await self._send_encoded(packed)

    async def _endless(self) -> None:
        await self._send_head("transfer-encoding: chunked\r\n")
        pieces = self._reply.chunks()
        first = pieces[0] if self._reply.events is not None else b" " * 1024
        block = chunk(first) * 16
        while not self._connection.lost.done():
            await self._connection.send(block)
            await asyncio.sleep(0)

    async def _invalid_utf8(self) -> None:
        # Inside strings of the JSON, so that nothing but the encoding is wrong.
        if self._reply.events is None:
            self._reply.body = self._reply.body.replace(b" ", b" \xff\xfe", 1)
        else:
            self._reply.events = [event.replace(b'" ', b'" \xff\xfe', 1) for event in self._reply.events]
        await self._send_head()
        await self._send_chunks()

    async def _not_json(self) -> None:
        self._reply = Reply(body=b"<html><body>Just a moment...</body></html>", content_type="text/html")
        await self._send_head()
        await self._send_chunks()


_WIRE: dict[str, Callable[[Delivery], Awaitable[None]]] = {
    "never-answer": Delivery._never_answer,
    "garbage": Delivery._garbage,
    "bad-chunk-length": Delivery._bad_chunk_length,
    "truncated-chunk": Delivery._truncated_chunk,
    "content-length-long": Delivery._content_length_long,
    "content-length-short": Delivery._content_length_short,
    "cl-and-te": Delivery._cl_and_te,
    "huge-header": Delivery._huge_header,
    "continue-flood": Delivery._continue_flood,
    "gzip": Delivery._gzip,
    "gzip-error": Delivery._gzip_error,
    "gzip-bomb": Delivery._gzip_bomb,
    "endless": Delivery._endless,
    "invalid-utf8": Delivery._invalid_utf8,
    "not-json": Delivery._not_json,
}
