"""A page on loopback that a test changes, for a server that watches it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class ChangingPage:
    """`with ChangingPage("<p>…") as page:` serves `page.html` at `page.url`, and nothing else."""

    def __init__(self, html: str) -> None:
        self.html = html
        page = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_there = self.path == "/pricing"
                body = page.html.encode() if is_there else b""
                self.send_response(200 if is_there else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._server.server_port}/pricing"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
