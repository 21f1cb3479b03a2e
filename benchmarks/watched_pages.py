"""A web site of many pages, for measuring listeners: `python -m benchmarks.watched_pages PORT PAGES CHANGES_PER_SECOND`.

Every second page has validators and answers 304 while it is as it was; the others are sent whole each time, with another
advertisement and another time of day, so that they have to be read. Prints a line for each change: page, version, Unix time.

A provider of chat completions, too, which knows what `page N` says: at the moment it is asked, which may be long after the call
was made.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time

import uvloop

_PATH = re.compile(rb"GET /p/(\d+) ")
_COMPLETION = b"POST /v1/chat/completions "
_ASKED_FOR = re.compile(rb"page (\d+) ")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
_ETAG = re.compile(rb'(?i)\r\nif-none-match: "(\d+)"')
_WORDS = "price plan customer invoice delivery return answer question month year team seat limit request".split()
PARAGRAPHS = 60


class Pages:
    """Which version each page has."""

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}
        self.asked = self.not_modified = 0
        chance = random.Random(7)
        self.text = "".join(
            f"<p>{' '.join(chance.choice(_WORDS) for _ in range(40)).capitalize()}.</p>" for _ in range(PARAGRAPHS)
        )

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Return the whole answer to a request."""
        if head.startswith(_COMPLETION):
            return self._complete(body)
        self.asked += 1
        found = _PATH.search(head)
        if found is None:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        number = int(found[1])
        version = self.versions.get(number, 1)
        validators = b""
        if number % 2 == 0:
            given = _ETAG.search(head)
            if given is not None and int(given[1]) == version:
                self.not_modified += 1
                return b'HTTP/1.1 304 Not Modified\r\netag: "%d"\r\nconnection: close\r\n\r\n' % version
            validators = b'etag: "%d"\r\n' % version
        body = (
            f"<!doctype html><html><head><title>Page {number}</title><script>var t={time.time()}</script></head><body>"
            f"<nav><a href=/>Home</a></nav><div class=ads>Buy {random.random()}</div><main><h1>Page {number}</h1>"
            f"<p>Version {version}.</p>{self.text}</main><footer>{time.time()}</footer></body></html>"
        ).encode()
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n%scontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (validators, len(body), body)
        )

    def _complete(self, body: bytes) -> bytes:
        """Return a chat completion that says which version a page has now."""
        found = _ASKED_FOR.search(body)
        text = f"Version {self.versions.get(int(found[1]), 1)}." if found else "Which page?"
        message = {"role": "assistant", "content": text}
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        }
        said = json.dumps(completion).encode()
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (len(said), said)
        )


class Visit(asyncio.Protocol):
    """One connection, one request."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        if len(body) >= (int(length[1]) if length else 0):
            self._transport.write(self._pages.answer(head + end, body))  # type: ignore[attr-defined]
            self._transport.close()


async def serve(port: int, pages_count: int, changes_per_second: float) -> None:
    pages = Pages()
    # Every address of 127.0.0.0/8 is this machine: each stands for a host of its own.
    await asyncio.get_running_loop().create_server(lambda: Visit(pages), "0.0.0.0", port, backlog=1024)
    chance = random.Random(1)
    while True:
        await asyncio.sleep(1 / changes_per_second if changes_per_second else 3600)
        number = chance.randrange(pages_count)
        pages.versions[number] = pages.versions.get(number, 1) + 1
        print(number, pages.versions[number], time.time(), flush=True)


def main() -> None:
    port, pages_count, changes = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    uvloop.run(serve(port, pages_count, changes))


if __name__ == "__main__":
    main()
