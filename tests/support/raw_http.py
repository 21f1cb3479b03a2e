"""An HTTP/1.1 client that sends exactly what a test wants, and says exactly what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A whole answer; header names in lower case, in order, repetitions kept."""

    status: int
    pairs: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of this name, or an empty string."""
        return next((value for other, value in self.pairs if other == name), "")

    @property
    def hit(self) -> bool:
        """Whether the answer came from the cache."""
        return self.header("cache-status").startswith("AgentCache; hit")

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)

    @property
    def everything(self) -> bytes:
        """Headers and body, for scanners."""
        return "\n".join(f"{name}: {value}" for name, value in self.pairs).encode("latin-1") + b"\n\n" + self.body


class RawClient:
    """One connection at a time, kept alive where the server does; nothing is checked, escaped or added but lengths."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._place = (parts.hostname, parts.port or 80)
        self.host = parts.netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    async def request(
        self, method: str, target: str, headers: Pairs = (), body: bytes | Any = b"", *, host: str | None = None
    ) -> RawAnswer:
        """Send one request and return its answer; a `body` that is not bytes goes as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host if host is None else host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not isinstance(body, bytes):
            lines.append("Content-Type: application/json")
        if content:
            lines.append(f"Content-Length: {len(content)}")
        return await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    async def send(self, raw: bytes) -> RawAnswer:
        """Send bytes and read one answer. Raises `ConnectionError` when the server hangs up without one."""
        reader, writer = self._streams or await self.connect()
        try:
            writer.write(raw)
            await writer.drain()
            answer, keeps = await read_answer(reader, has_body=not raw.startswith(b"HEAD "))
        except BaseException:
            self.close()
            raise
        if not keeps:
            self.close()
        return answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection."""
        self._streams = await asyncio.open_connection(*self._place, limit=1 << 22)
        return self._streams

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> tuple[RawAnswer, bool]:
    """Read one answer; also say whether the connection may be used again."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("hung up without an answer") from error
    status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    pairs = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    status = int(status_line.split(" ")[1])
    names = dict(pairs)
    body = b""
    keeps = names.get("connection", "").lower() != "close"
    try:
        if not has_body or status in (204, 304):
            pass
        elif "chunked" in names.get("transfer-encoding", ""):
            body = await _read_chunks(reader)
        elif "content-length" in names:
            body = await reader.readexactly(int(names["content-length"]))
        else:
            body, keeps = await reader.read(), False
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("hung up within the body") from error
    return RawAnswer(status, pairs, body), keeps


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)
