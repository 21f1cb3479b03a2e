"""Another site on this machine: an empty page of another origin, from which a test attacks."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

_PAGE = b"<!doctype html><title>Another site</title><body>Another site"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(_PAGE)))
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_message(self, *_: object) -> None:
        pass


class Attacker:
    """`with Attacker() as attacker:` serves `sibling`, another port of the site's own host, and `stranger`, another site."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        port = self._server.server_address[1]
        #: Same site, another origin: browsers send cookies along.
        self.sibling = f"http://127.0.0.1:{port}"
        #: Another site: a name instead of the number.
        self.stranger = f"http://localhost:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
