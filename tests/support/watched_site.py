"""A web site whose pages change when a test says so, on a real loopback socket: what listeners watch."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.raw_server import Visit, plain, serving


@dataclass
class Answer:
    """What a path answers; a page with validators answers 304 to those who have it."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: bytes = b"200 OK"
    headers: tuple[bytes, ...] = ()
    has_validators: bool = True

    @property
    def etag(self) -> bytes:
        """What tells two bodies apart."""
        return b'"%s"' % hashlib.sha256(self.body).hexdigest()[:16].encode()


@dataclass
class WatchedSite:
    """Pages by path; `asked` are the heads of requests, in order."""

    url: str = ""
    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)

    def put(
        self, path: str, body: str | bytes, content_type: str = "text/html; charset=utf-8", **members: object
    ) -> str:
        """Have a path say something from now on; return its URL."""
        content = body.encode() if isinstance(body, str) else body
        self.pages[path] = Answer(content, content_type, **members)  # type: ignore[arg-type]  # members of `Answer`
        return self.url + path

    def requests_of(self, path: str) -> list[bytes]:
        """Return the requests for a path."""
        return [head for head in self.asked if head.startswith(b"GET %s HTTP" % path.encode())]

    async def answer(self, visit: Visit) -> None:
        """Answer one connection."""
        while head := await visit.request():
            self.asked.append(head)
            path = head.split(b" ", 2)[1].decode()
            page = self.pages.get(path)
            if page is None:
                await visit.send(plain(b"", status=b"404 Not Found"))
                continue
            given = re.search(rb"(?i)\r\nif-none-match: ([^\r]*)", head)
            validators = (b"etag: " + page.etag,) if page.has_validators else ()
            if given and page.has_validators and given[1] == page.etag:
                await visit.send(b"\r\n".join((b"HTTP/1.1 304 Not Modified", *validators)) + b"\r\n\r\n")
                continue
            kind = b"content-type: " + page.content_type.encode()
            await visit.send(plain(page.body, kind, *validators, *page.headers, status=page.status))


@asynccontextmanager
async def watched_site() -> AsyncIterator[WatchedSite]:
    """Serve a site."""
    site = WatchedSite()
    async with serving(site.answer) as server:
        site.url = server.url
        yield site
        await asyncio.sleep(0)


def page(text: str = "The price is $10.", *, furniture: str = "1") -> str:
    """Return a page that says something, among things that change with each look and mean nothing."""
    return f"""<!doctype html><html><head><title>Prices</title><script>var now = {furniture!r}</script></head><body>
<header><nav><a href="/">Home</a> <a href="/about">About</a></nav></header>
<div class="ads">Buy {furniture} now!</div>
<main><article><h1>Prices</h1><p>Last updated: 2026-11-27 10:0{furniture[0]}:00 UTC</p>
<p>{text} It holds for every customer who buys from us, wherever they are and whatever they buy.</p>
<p>There is nothing else to say about it, and so this paragraph only says that.</p></article></main>
<footer>Generated in 0.00{furniture} s, {furniture} views. &copy; 2026</footer></body></html>"""
