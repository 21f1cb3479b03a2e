"""The port of AGENTCACHE_METRICS_PORT: answers `GET /metrics` without a key, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

HEAD_BYTES_MAX = 8192
#: A scraper that has not asked by then is gone, or is none.
WITHIN_SECONDS = 5.0
_STATUS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}


@contextlib.asynccontextmanager
async def serve_metrics(
    listener: socket.socket, exposition: Callable[[], bytes], content_type: str
) -> AsyncIterator[None]:
    """Answer scrapes on a listening socket for as long as the block runs."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whatever a scraper does wrong, it costs one closed connection.
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(WITHIN_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_reply(head, exposition, content_type))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listener, limit=HEAD_BYTES_MAX)
    try:
        yield
    finally:
        server.close()


def _reply(head: bytes, exposition: Callable[[], bytes], content_type: str) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status = 404 if path != b"/metrics" else 200 if method in {b"GET", b"HEAD"} else 405
    body = exposition() if status == 200 else f"{_STATUS[status]}\n".encode()
    kind = content_type if status == 200 else "text/plain; charset=utf-8"
    lines = (
        f"HTTP/1.1 {status} {_STATUS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == b"HEAD" else body)
